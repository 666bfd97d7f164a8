// One contender, one run, in a process of its own: nothing of another's heap, compiled code or sockets is left over.
import { rows } from './rows/index.js'

const [row, name, task] = process.argv.slice(2) as [string, string, string]
const work = rows[row]!.contenders[name]!
if (typeof work !== 'function') throw new Error(`${name} is a program of its own`)
process.stdout.write(`${JSON.stringify(await work(JSON.parse(task)))}\n`)
process.exit(0)
