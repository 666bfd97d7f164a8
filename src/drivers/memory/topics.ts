import { Subject } from 'rxjs'
import { ConfigurationError } from '../../errors.js'
import { partitionName } from '../../place.js'
import type { Log } from './log.js'
import { Topic, type TopicConfig } from './topic.js'

/** The number of partitions of a topic that its first use creates. */
export type Partitions = number | Readonly<Record<string, number>>

/** The topics of a broker. */
export class Topics {
  /** Emits the name of a topic that was created or deleted. */
  readonly changed = new Subject<string>()
  readonly #byName = new Map<string, Topic>()

  constructor(
    readonly partitions: Partitions,
    readonly autoCreate: boolean,
  ) {}

  create(name: string, partitions = this.#partitionsOf(name), config: TopicConfig = {}): Topic {
    if (this.#byName.has(name)) throw new ConfigurationError(`topic '${name}' exists already`)
    if (!Number.isInteger(partitions) || partitions < 1) {
      throw new ConfigurationError(`topic '${name}' cannot have ${partitions} partitions`)
    }
    const topic = new Topic(name, partitions, config)
    this.#byName.set(name, topic)
    this.changed.next(name)
    return topic
  }

  delete(name: string): void {
    if (!this.#byName.delete(name)) throw new ConfigurationError(`topic '${name}' does not exist`)
    this.changed.next(name)
  }

  find(name: string): Topic | undefined {
    return this.#byName.get(name)
  }

  /** The topic, which is created if the broker does so, as with a metadata request. */
  obtain(name: string): Topic | undefined {
    return this.#byName.get(name) ?? (this.autoCreate ? this.create(name) : undefined)
  }

  all(): readonly Topic[] {
    return [...this.#byName.values()]
  }

  /** A partition named by a test. It must exist. */
  log(name: string, partition: number): Log {
    const log = this.obtain(name)?.logs[partition]
    if (log === undefined)
      throw new ConfigurationError(`partition ${partitionName({ topic: name, partition })} does not exist`)
    return log
  }

  #partitionsOf(name: string): number {
    if (typeof this.partitions === 'number') return this.partitions
    return Object.hasOwn(this.partitions, name) ? this.partitions[name]! : 1
  }
}
