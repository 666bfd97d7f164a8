import { createTopic } from '../test/kafka/create-topic.js'
import { quiet } from './clients.js'
import { Figures } from './figures.js'
import { fill, partitions } from './fill.js'
import { measured, script } from './program.js'
import type { Row, Shape, Task } from './row.js'
import { uncommitted } from './uncommitted.js'

export interface Rounds {
  readonly brokers: string[]
  readonly rounds: number
  /** Instead of the row's own number. */
  readonly records: number | undefined
  /** Contenders whose names hold this, or one of several with `|` between them. */
  readonly only: string
  /** Topics that were filled stay, and are found again: filling takes longer than measuring. */
  readonly keep: boolean
}

/** Measures a row, its contenders in turns. One that fails loses its own figure of that round, and no other. */
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
      // Alternating, and each round begins with another: what the machine does meanwhile meets all alike.
      for (let turn = 0; turn < contenders.length; turn++) {
        const contender = contenders[(turn + round) % contenders.length]!
        // As short as real ones are: it is part of the names of headers.
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
    await remove(brokers, topics).catch(error => console.error(`the topics of ${name} are still there: ${error}`))
  }
  return figures
}

/** By which a topic with such records is found again. */
function nameOf({ bytes, headers = [], compression }: Shape, records: number): string {
  return `bench-${bytes}-bytes-${headers.length}-headers-${compression ?? 'none'}-${records}`
}

async function exists(brokers: string[], topic: string): Promise<boolean> {
  const admin = quiet(brokers).admin()
  await admin.connect()
  const topics = await admin.listTopics()
  await admin.disconnect()
  return topics.includes(topic)
}

/** How each contender is started. One that cannot be is left out, which is said where its figures would be. */
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
  if (left !== 0) throw new Error(`${left} records were not committed at the end`)
}

/** So that a whole table needs no more room than its largest row. */
async function remove(brokers: string[], topics: string[]): Promise<void> {
  const admin = quiet(brokers).admin()
  await admin.connect()
  await admin.deleteTopics({ topics })
  await admin.disconnect()
}

/** What a process printed on its way out is of more use than that it ended. */
function inShort(error: unknown): string {
  const { stderr, message, killed } = error as { stderr?: string; message: string; killed?: boolean }
  if (killed) return 'it did not end in time and was killed'
  const lines = (stderr || message).split('\n').filter(line => /\S/.test(line))
  const telling = lines.find(line => /error/i.test(line) && !line.startsWith('Command failed')) ?? lines[0]
  return telling?.trim().slice(0, 200) ?? 'it ended without a word'
}
