import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { GroupProtocol } from 'rxmika'
import { watchdog } from '../test/kafka/watchdog'
import { check, type Verdict } from './check'
import { startCluster } from './cluster'
import { type Evidence, known } from './evidence'
import { readJournal } from './journal'
import { KILL_MEMBERS } from './member-process'
import { Publishing } from './publishing'
import { type FaultKind, schedule } from './schedule'
import { Stage } from './stage'
import { Wire } from './wire'
import { dlqTopic, group, retryTopic, workTopics } from './workload'

export interface ChaosOptions {
  readonly seed: number
  /** How long faults happen. Starting, finishing the remaining work and checking take about a minute more. */
  readonly minutes: number
  readonly members?: number
  readonly brokers?: number
  /** The group protocol of the members. Defaults to `'classic'`. */
  readonly groupProtocol?: GroupProtocol
  /** The version of Apache Kafka. Defaults to the newest that this project is tested with. */
  readonly kafka?: string | undefined
  /** The kinds of faults. Defaults to all. */
  readonly kinds?: readonly FaultKind[]
  /** Called with each line of progress. Defaults to printing nothing. */
  readonly say?: (text: string) => void
}

export interface ChaosReport {
  readonly evidence: Evidence
  readonly verdict: Verdict
  /** The version of Apache Kafka. */
  readonly kafka: string
  /** The folder with the journals and logs of the members. */
  readonly folder: string
}

/** How long the group may take after the last fault to handle and commit everything, ms. */
const drainTimeout = 90_000

/**
 * Runs a group of members on a Kafka cluster while the faults of the seed's schedule happen. Then waits until the group has
 * handled everything, and checks the evidence.
 */
export async function chaos({
  seed,
  minutes,
  members = 4,
  brokers = 3,
  groupProtocol = 'classic',
  kafka: version,
  kinds,
  say = () => {},
}: ChaosOptions): Promise<ChaosReport> {
  const folder = await mkdtemp(join(tmpdir(), 'rxmika-chaos-'))
  const cluster = await startCluster(brokers, version)
  const { internal } = cluster.kafka
  // Members end with this process, even if it is killed while they are frozen.
  const guard = watchdog(KILL_MEMBERS, folder)
  const stage = new Stage(cluster, folder, groupProtocol, say)
  const publishing = new Publishing(internal, seed)
  const wire = new Wire(internal)
  try {
    await Promise.all([wire.connect(), publishing.start()])
    await stage.fill(members)
    say(`${members} members on ${brokers} brokers of Kafka ${cluster.kafka.version}`)

    const duration = minutes * 60_000
    const faults = schedule({ seed, duration, members, brokers, kinds })
    await Promise.all([sleep(duration), stage.play(faults)])
    await publishing.stop()
    say(`${publishing.acknowledged.size} records are published; waiting until all are committed`)
    await drained(wire)
    await stage.clear()

    const evidence = await gather(stage, wire, publishing)
    return { evidence, verdict: check(evidence), kafka: cluster.kafka.version, folder }
  } finally {
    await guard.end()
    await Promise.allSettled([publishing.stop(), wire.disconnect()])
    await cluster.stop()
  }
}

/** The topics that the group commits. The DLQ topic is read only in replays. */
const committedTopics = [...workTopics.map(({ name }) => name), retryTopic]

/** Resolves when everything is committed, or after `drainTimeout`. In the second case the check finds what is not committed. */
async function drained(wire: Wire): Promise<void> {
  const deadline = Date.now() + drainTimeout
  for (;;) {
    const progress = await wire.progress(group, committedTopics)
    if (progress.every(({ offset, end }) => Math.max(offset, 0) === end) || Date.now() > deadline) return
    await sleep(250)
  }
}

async function gather(stage: Stage, wire: Wire, publishing: Publishing): Promise<Evidence> {
  const records = await Promise.all(workTopics.map(({ name }) => wire.records(name)))
  return {
    acknowledged: publishing.acknowledged,
    records: known(records.flat()),
    retried: known(await wire.records(retryTopic)),
    dead: known(await wire.records(dlqTopic)),
    lines: stage.members.flatMap(({ journal }) => readJournal(journal)).sort((one, other) => one.time - other.time),
    incidents: stage.incidents,
    progress: await wire.progress(group, committedTopics),
    ends: stage.members.flatMap(({ name, ending }) => (ending === undefined ? [] : [{ member: name, ...ending }])),
    overdue: stage.overdue,
  }
}

/** Deletes the files of a run. */
export const forget = ({ folder }: ChaosReport): Promise<void> => rm(folder, { recursive: true, force: true })
