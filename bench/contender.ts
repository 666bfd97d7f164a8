// Runs one contender once. Each run has its own process, so that no heap, compiled code or sockets are shared between runs.
import { rows } from './rows/index.js'

const [row, name, task] = process.argv.slice(2) as [string, string, string]
const work = rows[row]!.contenders[name]!
if (typeof work !== 'function') throw new Error(`${name} is a separate program`)
process.stdout.write(`${JSON.stringify(await work(JSON.parse(task)))}\n`)
process.exit(0)
