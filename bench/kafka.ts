import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { CompressionTypes } from 'kafkajs'
import { createTopic } from '../test/kafka/create-topic.js'
import { startKafka } from '../test/kafka/kafka-server.js'
import { quiet } from './clients.js'
import { median } from './median.js'
import type { Measurement, Row, Task } from './row.js'
import { rows } from './rows/index.js'

const { values: options } = parseArgs({
  options: {
    row: { type: 'string', default: 'consume' },
    records: { type: 'string' },
    bytes: { type: 'string', default: '100' },
    headers: { type: 'string', default: '0' },
    partitions: { type: 'string', default: '4' },
    gzip: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    /** Contenders whose names hold this. */
    only: { type: 'string', default: '' },
  },
})
const run = promisify(execFile)
const tsx = createRequire(import.meta.url).resolve('tsx/cli')
const script = fileURLToPath(new URL('./contender.ts', import.meta.url))
const tsconfig = fileURLToPath(new URL('./tsconfig.json', import.meta.url))
const rounds = Number(options.rounds)
const numPartitions = Number(options.partitions)

const chosen = options.row === 'all' ? Object.keys(rows) : options.row.split(',')
for (const name of chosen) {
  if (rows[name] === undefined)
    throw new Error(`--row is one of ${Object.keys(rows).join(', ')}, or all; it was ${name}`)
}
const given = process.env.KAFKA_BROKERS?.split(',')
const server = given === undefined ? await startKafka() : undefined
const brokers = given ?? server!.brokers
try {
  for (const name of chosen) await measureRow(name, rows[name]!)
} finally {
  await server?.stop()
}

async function measureRow(rowName: string, row: Row): Promise<void> {
  const records = Number(options.records ?? row.records)
  const names = Object.keys(row.contenders).filter(name => name.includes(options.only))
  const id = `bench-${rowName}-${Date.now()}`
  if (row.filled !== false) await fill(id, records)
  const results = new Map<string, Measurement[]>(names.map(name => [name, []]))
  for (let round = 0; round < rounds; round++) {
    // Alternating, and each round begins with another: what the machine does meanwhile meets all alike.
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(turn + round) % names.length]!
      // As short as real ones are: it is part of the names of headers.
      const group = `${Date.now().toString(36)}-${turn}`
      const topic = row.filled === false ? `${id}-${group}` : id
      const scratch = `${id}-${group}-scratch`
      await createTopic({ brokers }, { topic: scratch, numPartitions })
      if (row.filled === false) await createTopic({ brokers }, { topic, numPartitions })
      const measurement = await measure(rowName, name, { brokers, topic, scratch, records, group })
      results.get(name)!.push(measurement)
      console.error(`round ${round + 1}/${rounds}  ${name}: ${JSON.stringify(measurement)}`)
    }
  }
  report(row, records, results)
}

/** By kafkajs, so that all contenders read what a usual producer wrote. */
async function fill(topic: string, records: number): Promise<void> {
  await createTopic({ brokers }, { topic, numPartitions })
  const producer = quiet(brokers).producer()
  await producer.connect()
  const headers = Object.fromEntries(
    Array.from({ length: Number(options.headers) }, (_, at) => [`header-${at}`, `value-${at}`]),
  )
  const size = Number(options.bytes)
  // A few hundred KiB for each partition; compressed ones as small as a usual producer's.
  const chunk = Math.min(options.gzip ? 1_000 : 10_000, Math.ceil(2_000_000 / size))
  for (let written = 0; written < records; written += chunk) {
    const messages = Array.from({ length: Math.min(chunk, records - written) }, (_, at) => ({
      key: `key-${(written + at) % 10_000}`,
      // Text that compresses to half, where it is compressed.
      value: options.gzip ? randomBytes(size / 2).toString('hex') : randomBytes(size),
      headers,
      partition: (written + at) % numPartitions,
    }))
    await producer.send({ topic, messages, compression: options.gzip ? CompressionTypes.GZIP : CompressionTypes.None })
  }
  await producer.disconnect()
}

async function measure(row: string, name: string, task: Task): Promise<Measurement> {
  const { stdout } = await run(process.execPath, [tsx, '--tsconfig', tsconfig, script, row, name, JSON.stringify(task)])
  return JSON.parse(stdout)
}

function report(row: Row, records: number, results: Map<string, Measurement[]>): void {
  const rates = (name: string) => results.get(name)!.map(({ rate }) => rate)
  const base = median(rates(results.has(row.base) ? row.base : [...results.keys()][0]!))
  const table = [...results].map(([contender, measurements]) => {
    const columns = Object.keys(measurements[0]!).filter(column => column !== 'rate')
    const list = rates(contender)
    return {
      contender,
      'median, 1/s': Math.round(median(list)),
      lowest: Math.round(Math.min(...list)),
      highest: Math.round(Math.max(...list)),
      ratio: Number((median(list) / base).toFixed(2)),
      ...Object.fromEntries(columns.map(name => [name, round(median(measurements.map(values => values[name]!)))])),
    }
  })
  console.log(
    `${row.title}: ${records} × ${options.bytes} B, ${options.headers} headers${options.gzip ? ', gzip' : ''}, ` +
      `${numPartitions} partitions, ${rounds} rounds, Node ${process.versions.node}`,
  )
  console.table(table)
}

function round(value: number): number {
  return Number(value.toPrecision(3))
}
