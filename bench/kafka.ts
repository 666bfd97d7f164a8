import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { lastValueFrom } from 'rxjs'
import { createClient } from 'rxmika'
import { createTopic } from '../test/kafka/create-topic.js'
import { startKafka } from '../test/kafka/kafka-server.js'
import { type ContenderName, contenders, type Measurement, type Task } from './contenders.js'

const { values: options } = parseArgs({
  options: {
    records: { type: 'string', default: '1000000' },
    bytes: { type: 'string', default: '100' },
    headers: { type: 'string', default: '0' },
    partitions: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
  },
})
const records = Number(options.records)
const rounds = Number(options.rounds)
const names = (Object.keys(contenders) as ContenderName[]).filter(name => name.includes(options.only))
const run = promisify(execFile)
const tsx = createRequire(import.meta.url).resolve('tsx/cli')
const script = fileURLToPath(new URL('./contender.ts', import.meta.url))
const tsconfig = fileURLToPath(new URL('./tsconfig.json', import.meta.url))

const given = process.env.KAFKA_BROKERS?.split(',')
const server = given === undefined ? await startKafka() : undefined
const brokers = given ?? server!.brokers
try {
  const topic = `bench-${Date.now()}`
  await fill(topic)
  const rates = new Map<ContenderName, number[]>(names.map(name => [name, []]))
  const memory = new Map<ContenderName, number>()
  for (let round = 0; round < rounds; round++) {
    // Alternating, and each round begins with another: what the machine does meanwhile meets all alike.
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(turn + round) % names.length]!
      const { elapsed, rssMiB } = await measure(name, { brokers, topic, records, group: `${topic}-${round}-${turn}` })
      rates.get(name)!.push(records / elapsed)
      memory.set(name, Math.max(memory.get(name) ?? 0, rssMiB))
      console.error(`round ${round + 1}/${rounds}  ${name}: ${Math.round(records / elapsed)}k records/s`)
    }
  }
  report(rates, memory)
} finally {
  await server?.stop()
}

async function fill(topic: string): Promise<void> {
  await createTopic({ brokers }, { topic, numPartitions: Number(options.partitions) })
  const client = createClient({ brokers, logger: false })
  const headers = Object.fromEntries(
    Array.from({ length: Number(options.headers) }, (_, at) => [`header-${at}`, `value-${at}`]),
  )
  const chunk = 10_000
  for (let written = 0; written < records; written += chunk) {
    const batch = Array.from({ length: Math.min(chunk, records - written) }, (_, at) => ({
      topic,
      key: `key-${(written + at) % 10_000}`,
      value: randomBytes(Number(options.bytes)),
      headers,
      partition: (written + at) % Number(options.partitions),
    }))
    await lastValueFrom(client.publish(batch))
  }
  await client.close()
}

async function measure(name: ContenderName, task: Task): Promise<Measurement> {
  const { stdout } = await run(process.execPath, [tsx, '--tsconfig', tsconfig, script, name, JSON.stringify(task)])
  return JSON.parse(stdout)
}

function report(rates: Map<ContenderName, number[]>, memory: Map<ContenderName, number>): void {
  const base = median(rates.get('kafkajs eachBatch') ?? [...rates.values()][0]!)
  const rows = [...rates].map(([contender, list]) => ({
    contender,
    'median, 1000/s': Math.round(median(list)),
    lowest: Math.round(Math.min(...list)),
    highest: Math.round(Math.max(...list)),
    'to eachBatch': Number((median(list) / base).toFixed(2)),
    'RSS, MiB': memory.get(contender),
  }))
  console.log(
    `${records} records of ${options.bytes} B with ${options.headers} headers, ${options.partitions} partitions, ` +
      `${rounds} rounds, Node ${process.versions.node}`,
  )
  console.table(rows)
}

function median(list: readonly number[]): number {
  const sorted = [...list].sort((one, other) => one - other)
  const middle = sorted.length / 2
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
