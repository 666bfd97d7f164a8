// Measures all rows or some of them on a real Kafka. Progress goes to stderr, Markdown to stdout.
import { parseArgs } from 'node:util'
import { startKafka } from '../test/kafka/kafka-server.js'
import { compile } from './compile.js'
import { circumstances } from './machine.js'
import { report } from './report.js'
import { measureRow } from './rounds.js'
import { rows } from './rows/index.js'

const { values: options } = parseArgs({
  options: {
    row: { type: 'string', default: 'all' },
    rounds: { type: 'string', default: '5' },
    /** Replaces the number of records of each row. */
    records: { type: 'string' },
    /** Only contenders whose names contain this text, or one of several texts separated by `|`. */
    only: { type: 'string', default: '' },
    /** Keeps filled topics on the Kafka of KAFKA_BROKERS for the next run. */
    keep: { type: 'boolean', default: false },
  },
})
const rounds = Number(options.rounds)
const records = options.records === undefined ? undefined : Number(options.records)

const chosen = options.row === 'all' ? Object.keys(rows) : options.row.split(',')
for (const name of chosen) {
  if (rows[name] === undefined)
    throw new Error(`--row must be 'all', or one or more of ${Object.keys(rows).join(',')} (got ${name})`)
}
await compile()
const namedBrokers = process.env.KAFKA_BROKERS?.split(',')
const server = namedBrokers === undefined ? await startKafka({ longLived: true }) : undefined
const brokers = namedBrokers ?? server!.brokers
try {
  // Each table is printed as soon as it is complete, so that an interrupted run still has results.
  for (const name of chosen) {
    const row = rows[name]!
    try {
      const figures = await measureRow(name, row, {
        brokers,
        rounds,
        records,
        only: options.only,
        keep: options.keep,
      })
      console.log(report(name, row, figures, rounds, records ?? row.records))
    } catch (error) {
      console.error(`the row ${name} FAILED:`, error)
      process.exitCode = 1
    }
  }
  const command = ['npm run bench', ...process.argv.slice(2)].join(' ').replace('bench ', 'bench -- ')
  console.log(`${await circumstances(server !== undefined)}\n\n\`${command}\``)
} finally {
  await server?.stop()
}
