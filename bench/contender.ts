// One contender, one run, in a process of its own: nothing of another's heap, compiled code or sockets is left over.
import { type ContenderName, contenders } from './contenders.js'

const [name, task] = process.argv.slice(2) as [ContenderName, string]
const measurement = await contenders[name](JSON.parse(task))
process.stdout.write(`${JSON.stringify(measurement)}\n`)
process.exit(0)
