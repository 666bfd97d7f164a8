import { fileURLToPath } from 'node:url'
import { goProgram } from '../test/kafka/go-program.js'
import type { Program } from './program.js'

const sources = fileURLToPath(new URL('./go', import.meta.url))

/** Its name in the rows: it works as MiKa in Go does, and is not MiKa itself. */
export const goName = 'Go: franz-go, as MiKa does it'

/** The program in `go/`, doing one of its rows. */
export const go = (row: string): Program => ({ command: async () => [await goProgram('bench', sources), row] })
