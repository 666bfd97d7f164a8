// One contender, one run, in a process of its own: nothing of another's heap, compiled code or sockets is left over.
import { rows } from './rows/index.js'

const [row, name, task] = process.argv.slice(2) as [string, string, string]
const measurement = await rows[row]!.contenders[name]!(JSON.parse(task))
process.stdout.write(`${JSON.stringify(measurement)}\n`)
process.exit(0)
