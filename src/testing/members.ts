import { pino } from 'pino'
import type { Client, ClientOptions } from '../client/client.js'
import { createClient } from '../client/create-client.js'
import type { Driver } from '../driver.js'
import type { MemoryBroker } from '../drivers/memory/index.js'
import { ConfigurationError } from '../errors.js'
import type { OfClient } from './marble-helpers.js'

/** A client of a run, and its options. */
export interface Member {
  readonly client: Client
  readonly driver: Driver
  readonly options: ClientOptions
  /** True: the test says when it starts. */
  startsLater: boolean
}

/** Shared, because making a logger takes longer than a small run. */
const silent = pino({ level: 'silent' })

const defaults: ClientOptions = {
  env: {},
  group: 'group',
  retryTopic: 'retry',
  dlqTopic: 'dlq',
  commitInterval: 0,
  logger: silent,
}

/** The clients that a run made. */
export class Members {
  readonly all: Member[] = []

  constructor(readonly broker: MemoryBroker) {}

  add(options: ClientOptions): Member {
    const driver = options.driver ?? this.broker.driver()
    const withDefaults = { ...defaults, ...options, driver }
    const member = { client: createClient(withDefaults), driver, options: withDefaults, startsLater: false }
    this.all.push(member)
    return member
  }

  /** The selected member. Without a selection there must be exactly one. */
  only(what: string, { client }: OfClient = {}): Member {
    const found = this.all.filter(member => client === undefined || member.client === client)
    if (found.length === 1) return found[0]!
    const problem =
      found.length === 0 ? 'is no client that this run made' : `are ${found.length} clients: say { client }`
    throw new ConfigurationError(`${what}: there ${problem}`)
  }

  /** ` of client 2`, counted in the order in which they were made; empty without a selection. */
  nameOf({ client }: OfClient = {}): string {
    return client === undefined ? '' : ` of client ${this.all.findIndex(member => member.client === client) + 1}`
  }

  /** The full name of the first client's group. */
  group(): string {
    const { group = 'group', suffix = '' } = this.all[0]?.options ?? defaults
    return group + suffix
  }

  /** The full name of a client's group; undefined if it has none. */
  groupOf(client: Client): string | undefined {
    const { group, suffix = '' } = this.all.find(member => member.client === client)?.options ?? defaults
    return group === undefined ? undefined : group + suffix
  }

  /** The full name of the first client's retry or DLQ topic. */
  topic(option: 'retryTopic' | 'dlqTopic'): string {
    const options = this.all[0]?.options ?? defaults
    return (options[option] ?? defaults[option]!) + (options.suffix ?? '')
  }

  /** The full name of a user's topic. */
  fullName(client: Client, topic: string): string {
    return topic + (this.all.find(member => member.client === client)?.options.suffix ?? '')
  }
}
