import { pino } from 'pino'
import type { Client, ClientOptions } from '../client/client.js'
import { createClient } from '../client/create-client.js'
import type { Driver } from '../driver.js'
import type { MemoryBroker } from '../drivers/memory/index.js'
import { ConfigurationError } from '../errors.js'
import type { OfClient } from './marble-helpers.js'

/** A client of a run, and what it was made with. */
export interface Member {
  readonly client: Client
  readonly driver: Driver
  readonly options: ClientOptions
  /** Some test says when it starts. */
  startsLater: boolean
}

/** One for all: making one takes longer than a small run. */
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

  /** The one that is meant; without a name there must be no other. */
  only(what: string, { client }: OfClient = {}): Member {
    const found = this.all.filter(member => client === undefined || member.client === client)
    if (found.length === 1) return found[0]!
    const problem =
      found.length === 0 ? 'is no client that this run made' : `are ${found.length} clients: say { client }`
    throw new ConfigurationError(`${what}: there ${problem}`)
  }

  /** ` of client 2`, in the order in which they were made; empty where none is named. */
  nameOf({ client }: OfClient = {}): string {
    return client === undefined ? '' : ` of client ${this.all.findIndex(member => member.client === client) + 1}`
  }

  /** As the broker has it, of the first client. */
  group(): string {
    const { group = 'group', suffix = '' } = this.all[0]?.options ?? defaults
    return group + suffix
  }

  /** As the broker has it; undefined: the client has none. */
  groupOf(client: Client): string | undefined {
    const { group, suffix = '' } = this.all.find(member => member.client === client)?.options ?? defaults
    return group === undefined ? undefined : group + suffix
  }

  /** As the broker has it, of the first client. */
  topic(option: 'retryTopic' | 'dlqTopic'): string {
    const options = this.all[0]?.options ?? defaults
    return (options[option] ?? defaults[option]!) + (options.suffix ?? '')
  }

  /** The topic of a user's name, as the broker has it. */
  fullName(client: Client, topic: string): string {
    return topic + (this.all.find(member => member.client === client)?.options.suffix ?? '')
  }
}
