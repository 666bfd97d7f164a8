// One case, one run, on one build, in a process of its own.
import { Build, cases } from './core-cases.js'

const [folder, name] = process.argv.slice(2) as [string, string]
process.stdout.write(`${await cases[name]!(new Build(folder))}\n`)
process.exit(0)
