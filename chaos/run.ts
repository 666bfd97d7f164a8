// npm run chaos -- --seed 1 --minutes 5: exits with 0 when nothing is violated.
import { parseArgs } from 'node:util'
import { chaos, forget } from './chaos'
import { history, recoveries, summary, told } from './report'
import { faultKinds } from './schedule'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 100_000) },
    minutes: { type: 'string', default: '2' },
    members: { type: 'string', default: '4' },
    brokers: { type: 'string', default: '3' },
    /** Of join, leave, kill, freeze, broker and cut, separated by commas; `none` for a quiet run. */
    faults: { type: 'string' },
    /** Keeps what the members wrote, whatever the outcome. */
    keep: { type: 'boolean', default: false },
  },
})
const seed = Number(values.seed)
const minutes = Number(values.minutes)
const kinds =
  values.faults === undefined ? faultKinds : faultKinds.filter(kind => values.faults!.split(',').includes(kind))
const began = performance.now()
const say = (text: string) =>
  console.error(`${((performance.now() - began) / 1_000).toFixed(1).padStart(7)} s  ${text}`)

say(`seed ${seed}, ${minutes} minutes of ${kinds.join(', ') || 'quiet'}`)
const report = await chaos({
  seed,
  minutes,
  members: Number(values.members),
  brokers: Number(values.brokers),
  kinds,
  say,
})
const { evidence, verdict } = report
console.table([summary(evidence, verdict, { seed, minutes })])
console.table(recoveries(evidence))
console.table([told(evidence)])

const shown = 10
for (const { rule, text, id } of verdict.violations.slice(0, shown)) {
  console.log(`\n✗ ${rule}: ${text}`)
  if (id !== undefined) console.log(history(evidence, id).join('\n'))
}
if (verdict.violations.length > shown) console.log(`\nand ${verdict.violations.length - shown} more`)
if (verdict.violations.length > 0) {
  console.log(`\nAgain: npm run chaos -- --seed ${seed} --minutes ${minutes}\nJournals and logs: ${report.folder}`)
  process.exitCode = 1
} else if (values.keep) console.log(report.folder)
else await forget(report)
