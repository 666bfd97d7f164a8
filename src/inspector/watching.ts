import type { TracingChannel } from 'node:diagnostics_channel'
import { Subscription } from 'rxjs'
import { type ClientMessage, receiveChannel, settleChannel } from '../channels.js'
import type { Client } from '../client/client.js'
import type { ClientEvent } from '../events.js'
import type { ConsumeRecord } from '../record.js'
import { type Frame, type Happening, type MarkKind, markKinds } from './messages.js'
import { Recent } from './recent.js'
import { Rows } from './rows.js'
import { Sampling } from './sampling.js'

/** Limit on the happenings in one frame. Further ones are only counted. */
const maxHappenings = 100

/** The kinds of marks, as a set of event types. `delivered`, `acked` and `failed` are in it, but are not events. */
const marked: ReadonlySet<string> = new Set(markKinds)

/** Observes every record through the tracing channels. Exists only while a viewer is connected. */
export class Watching {
  readonly rows = new Rows()
  readonly recent = new Recent()
  readonly #sampling = new Sampling()
  readonly #listening = new Subscription()
  #happenings: Happening[] = []
  #more = 0

  constructor(
    readonly client: Client,
    readonly now: () => number,
  ) {
    this.#listen(receiveChannel, ({ record }) => this.#delivered(record))
    this.#listen(settleChannel, ({ record, how }) => this.#settled(record, how === 'ack' ? 'acked' : 'failed'))
  }

  event(event: ClientEvent, happening: Happening | undefined, at: number): void {
    if (marked.has(event.type) && 'offset' in event) {
      const { topic, partition, offset } = event
      const row = this.rows.of(topic, partition)
      const attempt = 'attempt' in event ? event.attempt : 1
      if (row >= 0) this.#sampling.special(row, event.type as MarkKind, Number(offset), attempt, at)
      this.recent.addEvent(event.type, event, at)
    }
    if (happening !== undefined) this.happened(happening)
  }

  happened(happening: Happening): void {
    if (this.#happenings.length < maxHappenings) this.#happenings.push(happening)
    else this.#more++
  }

  frame(at: number): Omit<Frame, 'rows' | 'from' | 'missed' | 'standing'> {
    const { marks, counts, shown, of } = this.#sampling.take(at)
    const happenings = this.#happenings
    const more = this.#more
    this.#happenings = []
    this.#more = 0
    return { type: 'frame', at, marks, counts, sampled: { shown, of }, happenings, more }
  }

  end(): void {
    this.#listening.unsubscribe()
  }

  #delivered(record: ConsumeRecord<unknown>): void {
    const at = this.now()
    const { topic, partition, offset } = record.source
    const row = this.rows.of(topic, partition)
    if (row >= 0) this.#sampling.delivered(row, Number(offset), record.attempt, at)
    this.recent.add(record, 'delivered', at)
  }

  #settled(record: ConsumeRecord<unknown>, how: 'acked' | 'failed'): void {
    const at = this.now()
    const { topic, partition, offset } = record.source
    const row = this.rows.of(topic, partition)
    if (row >= 0) this.#sampling.settled(row, how, Number(offset), record.attempt, at)
    this.recent.add(record, how, at)
  }

  /** Subscribes to the messages of this client. The channels carry those of all clients in the process. */
  #listen<M extends ClientMessage & object>(
    channel: TracingChannel<unknown, M>,
    onMessage: (message: M) => void,
  ): void {
    const ofThisClient = (message: unknown) => {
      if ((message as M).client === this.client) onMessage(message as M)
    }
    channel.start.subscribe(ofThisClient)
    this.#listening.add(() => channel.start.unsubscribe(ofThisClient))
  }
}
