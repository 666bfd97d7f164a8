// Runs one case once, on one build, in its own process.
import { Build, cases } from './core-cases.js'

const [folder, name] = process.argv.slice(2) as [string, string]
process.stdout.write(`${await cases[name]!(new Build(folder))}\n`)
process.exit(0)
