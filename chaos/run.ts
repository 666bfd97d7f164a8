// npm run chaos -- --seed 1 --minutes 5 --group-protocol consumer --kafka 4.1.0
// Exits with 0 if no rule is violated. The last line of the output has the figures of the run.
import { parseArgs } from 'node:util'
import type { GroupProtocol } from 'rxmika'
import { chaos, forget } from './chaos'
import { history, recoveries, summary, summaryLine, unusualLines } from './report'
import { faultKinds } from './schedule'

/** The newest patch release of each minor version. */
const newest: Readonly<Record<string, string | undefined>> = { '3.9': '3.9.1', '4.1': '4.1.0', '4.4': '4.4.0' }

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 100_000) },
    minutes: { type: 'string', default: '2' },
    members: { type: 'string', default: '4' },
    brokers: { type: 'string', default: '3' },
    /** The group protocol of the members: classic, consumer or auto. */
    'group-protocol': { type: 'string', default: 'classic' },
    /** The version of Apache Kafka. Its jars are downloaded by Maven if they are missing. */
    kafka: { type: 'string' },
    /** Some of join, leave, kill, freeze, broker and cut, separated by commas; `none` for a run without faults. */
    faults: { type: 'string' },
    /** Keeps the journals and logs even if no rule is violated. */
    keep: { type: 'boolean', default: false },
  },
})
const seed = Number(values.seed)
const minutes = Number(values.minutes)
const groupProtocol = values['group-protocol'] as GroupProtocol
if (!['classic', 'consumer', 'auto'].includes(groupProtocol)) {
  throw new Error(`--group-protocol must be classic, consumer or auto (got ${groupProtocol})`)
}
const version = values.kafka && (newest[values.kafka] ?? values.kafka)
const kinds =
  values.faults === undefined ? faultKinds : faultKinds.filter(kind => values.faults!.split(',').includes(kind))
const began = performance.now()
const say = (text: string) =>
  console.error(`${((performance.now() - began) / 1_000).toFixed(1).padStart(7)} s  ${text}`)

say(`seed ${seed}, ${groupProtocol}, ${minutes} minutes of ${kinds.join(', ') || 'no faults'}`)
const report = await chaos({
  seed,
  minutes,
  members: Number(values.members),
  brokers: Number(values.brokers),
  groupProtocol,
  kafka: version,
  kinds,
  say,
})
const { evidence, verdict, kafka } = report
console.table([summary(evidence, verdict, { seed, minutes })])
console.table(recoveries(evidence))
console.table([unusualLines(evidence)])

const maxPrinted = 10
for (const { rule, text, id } of verdict.violations.slice(0, maxPrinted)) {
  console.log(`\n✗ ${rule}: ${text}`)
  if (id !== undefined) console.log(history(evidence, id).join('\n'))
}
if (verdict.violations.length > maxPrinted) console.log(`\nand ${verdict.violations.length - maxPrinted} more`)
if (verdict.violations.length > 0) {
  const run = `--seed ${seed} --minutes ${minutes} --group-protocol ${groupProtocol} --kafka ${kafka}`
  console.log(`\nTo repeat: npm run chaos -- ${run}\nJournals and logs: ${report.folder}`)
  process.exitCode = 1
} else if (values.keep) console.log(report.folder)
else await forget(report)
console.log(summaryLine({ seed, minutes, groupProtocol, kafka }, summary(evidence, verdict, { seed, minutes })))
