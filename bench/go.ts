import { fileURLToPath } from 'node:url'
import { goProgram } from '../test/kafka/go-program.js'
import type { Program } from './program.js'

const sources = fileURLToPath(new URL('./go', import.meta.url))

/** The contender's name in the rows. It works as MiKa in Go does, but is not MiKa itself. */
export const goName = 'Go: franz-go, as MiKa does it'

/** The program in `go/`. `row` selects the work. */
export const go = (row: string): Program => ({ command: async () => [await goProgram('bench', sources), row] })
