import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { concatMap, tap } from 'rxjs'
import { type ConsumeRecord, createClient } from 'rxmika'
import '../strict'
import type { ClientCommand, ClientMessage, ClientTask } from './client-process'

// The program of a `ClientProcess`. It must end by itself once its client is closed.

const { topic, options, maxInFlight, acks }: ClientTask = JSON.parse(process.argv[2]!)

/** Messages of one turn of the event loop are sent together, because sending takes longer than a delivery. */
const unsent: ClientMessage[] = []
function tell(message: ClientMessage): void {
  if (unsent.push(message) === 1) setImmediate(() => process.send!(unsent.splice(0)))
}

const aborting = new AbortController()
const client = createClient({
  env: {},
  logger: false,
  commitInterval: 10,
  heartbeatInterval: 200,
  signal: aborting.signal,
  ...options,
})
/** Unsettled records by partition and offset. */
const records = new Map<string, ConsumeRecord>()
const placeOf = ({ partition, offset }: { readonly partition: number; readonly offset: number | bigint }) =>
  `${partition}@${offset}`

const firsts = new Set<number>()
function acksAtOnce({ partition }: ConsumeRecord): boolean {
  if (acks === 'all-but-first' && !firsts.has(partition)) {
    firsts.add(partition)
    return false
  }
  return acks === 'all' || acks === 'all-but-first'
}

function ack(record: ConsumeRecord): void {
  const { partition, offset } = record
  const counted = record.ack()
  if (acks !== 'all' && acks !== 'all-but-first') tell({ type: 'acked', partition, offset: Number(offset), counted })
}

client
  .topic(topic, { maxInFlight })
  .pipe(
    tap(record => {
      const { partition } = record
      const offset = Number(record.offset)
      tell({ type: 'delivered', partition, offset, time: Date.now() })
      if (acksAtOnce(record)) return ack(record)
      records.set(placeOf(record), record)
      // The records of a partition share one signal.
      setMaxListeners(0, record.signal)
      record.signal.addEventListener('abort', () => tell({ type: 'aborted', partition, offset }))
    }),
    concatMap(async record => {
      if (typeof acks !== 'number') return
      await sleep(acks)
      ack(record)
    }),
  )
  .subscribe({ error: () => {} })

client.events.subscribe(event => {
  if (event.type === 'state') tell({ type: 'state', state: event.state })
  else if ('offset' in event) {
    tell({ type: 'event', event: event.type, partition: event.partition, offset: Number(event.offset) })
  } else tell({ type: 'event', event: event.type })
})
client.start().subscribe(({ name }) => tell({ type: 'error', name }))

process.on('message', (command: ClientCommand) => {
  if (command.do === 'ack') ack(records.get(placeOf(command))!)
  else if (command.do === 'freeze') process.kill(process.pid, 'SIGSTOP')
  else if (command.do === 'close') client.close()
  else if (command.do === 'closeGracefully') client.closeGracefully({ timeout: command.timeout })
  else aborting.abort(new Error('aborted by the test'))
})
// Waiting for commands must not keep the process alive.
process.channel!.unref()

tell({ type: 'closed', report: await client.closed })
