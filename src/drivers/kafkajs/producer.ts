import type { Kafka } from 'kafkajs'
import { asyncScheduler } from 'rxjs'
import { systemClock } from '../../clock.js'
import type { Outgoing } from '../../outgoing.js'
import { messageWithBroker } from './protocol-error.js'
import type { Reachability } from './reachability.js'
import { KafkajsLeaders } from './writing/kafkajs-leaders.js'
import { Writing } from './writing/writing.js'

/** Writes one client's records, over connections of its own. */
export class Producer {
  readonly #leaders: KafkajsLeaders
  readonly #writing: Writing

  /** @param reachability Is told which brokers cannot be reached. */
  constructor(kafka: Kafka, reachability?: Reachability) {
    this.#leaders = new KafkajsLeaders(kafka, reachability, error =>
      this.#writing.unreachable(messageWithBroker(error), error),
    )
    this.#writing = new Writing(this.#leaders, {
      scheduler: asyncScheduler,
      monotonic: systemClock.monotonic,
      wall: systemClock.wall,
      soon: work => void setImmediate(work),
    })
  }

  produce(outgoing: Outgoing): void {
    this.#writing.write(outgoing)
  }

  async end(): Promise<void> {
    this.#writing.end('the driver is closed')
    await this.#leaders.end()
  }
}
