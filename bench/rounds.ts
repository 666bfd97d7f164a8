import { createTopic } from '../test/kafka/create-topic.js'
import { quietKafka } from './clients.js'
import { Figures } from './figures.js'
import { fill, partitions } from './fill.js'
import { measured, script } from './program.js'
import type { Row, Shape, Task } from './row.js'
import { uncommitted } from './uncommitted.js'

export interface Rounds {
  readonly brokers: string[]
  readonly rounds: number
  /** Replaces the row's number of records. */
  readonly records: number | undefined
  /** Only contenders whose names contain this text, or one of several texts separated by `|`. */
  readonly only: string
  /** Filled topics are kept and reused, because filling takes longer than measuring. */
  readonly keep: boolean
}

/** Measures a row. A run that fails is reported, and the others go on. */
export async function measureRow(
  name: string,
  row: Row,
  { brokers, rounds, keep, ...options }: Rounds,
): Promise<Figures> {
  const records = options.records ?? row.records
  const only = options.only.split('|')
  const chosen = Object.keys(row.contenders).filter(contender => only.some(part => contender.includes(part)))
  const figures = new Figures(chosen)
  const commands = await commandsOf(name, row, chosen, figures)
  const contenders = [...commands.keys()]
  const id = `bench-${name}-${Date.now().toString(36)}`
  const topics: string[] = []
  const created = async (topic: string) => {
    topics.push(topic)
    await createTopic({ brokers }, { topic, numPartitions: partitions })
    return topic
  }
  try {
    const filled = keep && row.filled !== undefined ? nameOf(row.filled, records) : id
    if (row.filled !== undefined && !(keep && (await exists(brokers, filled)))) {
      await fill(brokers, await created(filled), records, row.filled)
      if (keep) topics.splice(0)
    }
    for (let round = 0; round < rounds; round++) {
      // Contenders alternate, and each round starts with another one, so that a change of the machine's speed affects all alike.
      for (let turn = 0; turn < contenders.length; turn++) {
        const contender = contenders[(turn + round) % contenders.length]!
        // As short as real group names, because the headers of a copy have it in their names.
        const group = `${Date.now().toString(36)}-${turn}`
        const topic = row.filled === undefined ? await created(`${id}-${group}`) : filled
        const task = { brokers, topic, scratch: await created(`${id}-${group}-scratch`), records, group }
        const place = `round ${round + 1}/${rounds}  ${name}  ${contender}`
        try {
          const measurement = await measured(commands.get(contender)!, task)
          if (row.committed !== undefined && !row.committed.except.includes(contender)) await committed(task)
          figures.add(contender, measurement)
          console.error(`${place}: ${JSON.stringify(measurement)}`)
        } catch (error) {
          figures.failures.push(`${contender}, round ${round + 1}: ${inShort(error)}`)
          console.error(`${place}: FAILED: ${error}`)
        }
      }
    }
  } finally {
    await remove(brokers, topics).catch(error => console.error(`the topics of ${name} could not be deleted: ${error}`))
  }
  return figures
}

/** The name of a kept topic. A later run finds the topic by it. */
function nameOf({ bytes, headers = [], compression }: Shape, records: number): string {
  return `bench-${bytes}-bytes-${headers.length}-headers-${compression ?? 'none'}-${records}`
}

async function exists(brokers: string[], topic: string): Promise<boolean> {
  const admin = quietKafka(brokers).admin()
  await admin.connect()
  const topics = await admin.listTopics()
  await admin.disconnect()
  return topics.includes(topic)
}

/** The command of each contender. A contender that cannot run on this machine is left out and reported as a failure of the row. */
async function commandsOf(name: string, row: Row, contenders: readonly string[], figures: Figures) {
  const commands = new Map<string, readonly string[]>()
  for (const contender of contenders) {
    const work = row.contenders[contender]!
    try {
      const command = typeof work === 'function' ? script('contender', [name, contender]) : await work.command()
      commands.set(contender, command)
    } catch (error) {
      figures.failures.push(`${contender} is left out: ${inShort(error)}`)
      console.error(`${name}  ${contender} is LEFT OUT: ${(error as Error).message}`)
    }
  }
  return commands
}

async function committed(task: Task): Promise<void> {
  const left = await uncommitted(task)
  if (left !== 0) throw new Error(`${left} records were not committed when the run ended`)
}

/** Deletes the topics of a row, so that all rows together need no more disk space than the largest one. */
async function remove(brokers: string[], topics: string[]): Promise<void> {
  const admin = quietKafka(brokers).admin()
  await admin.connect()
  await admin.deleteTopics({ topics })
  await admin.disconnect()
}

/** A short reason for a failed run: the most useful line of its stderr, if it printed one. */
function inShort(error: unknown): string {
  const { stderr, message, killed } = error as { stderr?: string; message: string; killed?: boolean }
  if (killed) return 'it was killed because it took too long'
  const lines = (stderr || message).split('\n').filter(line => /\S/.test(line))
  const reason = lines.find(line => /error/i.test(line) && !line.startsWith('Command failed')) ?? lines[0]
  return reason?.trim().slice(0, 200) ?? 'it failed without a message'
}
