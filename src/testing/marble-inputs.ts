import type { Client } from '../client/client.js'
import type { Driver } from '../driver.js'
import type { MemoryBroker } from '../drivers/memory/index.js'
import { ConfigurationError } from '../errors.js'
import type { ConsumeRecord } from '../record.js'
import type { Clock } from './clock.js'
import { endOf, type Mark, parseDiagram, parseSpan } from './diagram.js'
import type { Diagrams } from './expectation.js'
import { type Letters, nameOf, shown } from './letters.js'
import type { MarbleHelpers, RecordContent } from './marble-helpers.js'
import type { Members } from './members.js'
import type { Context } from './picture.js'

interface Settlement {
  readonly letter: string
  readonly what: string
  readonly frame: number
  settle(record: ConsumeRecord<unknown>): void
}

type In = Pick<
  MarbleHelpers,
  | 'records'
  | 'ack'
  | 'fail'
  | 'at'
  | 'start'
  | 'close'
  | 'closeGracefully'
  | 'revoke'
  | 'lose'
  | 'kill'
  | 'freeze'
  | 'setClock'
  | 'outage'
  | 'failNext'
>

/** The session time-out of clients without that option, ms. */
const defaultSessionTimeout = 30_000

/** Entries of a history about members. */
export type FateNote =
  | { readonly what: 'killed' | 'expelled'; readonly client: Client }
  | { readonly what: 'clock set'; readonly client: Client; readonly wall: number }

/** The inputs of a run: each diagram becomes actions of its clock, and a row of the picture. */
export class MarbleInputs {
  readonly context: Context[] = []
  /** Inputs that could not be done, and errors of the test's own actions. `input` is the row of the context. */
  readonly problems: { readonly error: unknown; readonly input?: Context; readonly unmet?: true }[] = []
  /** Topics that `records` writes to. */
  readonly topics = new Set<string>()
  readonly killed = new Set<Client>()
  /** The frame where the longest diagram ends. */
  lastFrame = 0
  /** The latest delivery of each letter. */
  readonly #newest = new Map<string, ConsumeRecord<unknown>>()
  /** Settlements that were requested in the frame of their delivery, but before it. */
  #early: Settlement[] = []
  readonly #frozen = new Set<Driver>()

  constructor(
    readonly clock: Clock,
    readonly broker: MemoryBroker,
    readonly members: Members,
    readonly letters: Letters,
    readonly noted: (what: FateNote) => void,
  ) {}

  readonly helpers: In = {
    records: (topic, marbles, contents = {}) => {
      const diagrams = typeof marbles === 'string' ? [marbles] : marbles
      this.topics.add(topic)
      if (typeof marbles !== 'string' && !this.broker.topics().has(topic)) {
        this.broker.createTopic(topic, marbles.length)
      }
      diagrams.forEach((diagram, at) => {
        const partition = typeof marbles === 'string' ? undefined : at
        const legend = new Map<string, string>()
        const name = partition === undefined ? `records of ${topic}` : `records of ${topic}-${partition}`
        this.#each(name, diagram, legend, ({ mark }) => {
          const content = contentOf(mark, contents[mark])
          const [place] = this.broker.publish(topic, partition === undefined ? content : { ...content, partition })
          const meaning = nameOf(place!) + described(mark, content)
          this.letters.give(mark, place!, meaning)
          legend.set(mark, meaning)
        })
      })
    },

    ack: marbles => this.#settle('ack', marbles, record => record.ack()),

    fail: (marbles, reasons = {}) =>
      this.#settle('fail', marbles, (record, letter) => {
        record.fail(letter in reasons ? reasons[letter] : new Error(`${letter} fails`))
      }),

    at: (marbles, actions) =>
      this.#each('at', marbles, undefined, ({ mark }) => {
        const action = typeof actions === 'function' ? actions : actions[mark]
        if (action === undefined) throw new ConfigurationError(`at '${marbles}': there is no action for ${mark}`)
        action()
      }),

    start: (marbles, options) => {
      const member = this.members.only('start', options)
      member.startsLater = true
      this.#each(`start${this.members.nameOf(options)}`, marbles, undefined, () => member.client.start())
    },

    close: (marbles, options) => {
      const { client } = this.members.only('close', options)
      this.#each(`close${this.members.nameOf(options)}`, marbles, undefined, () => {
        client.close()
      })
    },

    closeGracefully: (marbles, { timeout, ...options } = {}) => {
      const { client } = this.members.only('closeGracefully', options)
      this.#each(`closeGracefully${this.members.nameOf(options)}`, marbles, undefined, () => {
        client.closeGracefully({ timeout })
      })
    },

    revoke: (topic, marbles, { group } = {}) =>
      this.#eachPartition('revoke', topic, marbles, partition =>
        this.broker.revoke(group ?? this.members.group(), topic, partition),
      ),

    lose: (topic, marbles, { group } = {}) =>
      this.#eachPartition('lose', topic, marbles, partition =>
        this.broker.lose(group ?? this.members.group(), topic, partition),
      ),

    kill: (marbles, { after, ...options } = {}) => {
      const { client, driver } = this.members.only('kill', options)
      this.#each(`kill${this.members.nameOf(options)}`, marbles, undefined, () => {
        this.noted({ what: 'killed', client })
        this.killed.add(client)
        this.broker.kill(driver, { after })
      })
    },

    freeze: (marbles, { after, ...options } = {}) => {
      const { client, driver, options: made } = this.members.only('freeze', options)
      const sessionEndsAfter = after ?? made.sessionTimeout ?? defaultSessionTimeout
      const { from, to } = this.#span(
        `freeze${this.members.nameOf(options)}`,
        marbles,
        () => {
          this.broker.freeze(driver, { after: sessionEndsAfter })
          this.#frozen.add(driver)
        },
        () => this.broker.thaw(driver),
      )
      const expelled = from + sessionEndsAfter
      if (expelled < to) this.clock.at(expelled, () => this.noted({ what: 'expelled', client }))
    },

    setClock: (marbles, by, options) => {
      const { client, driver } = this.members.only('setClock', options)
      const how = typeof by === 'number' ? ` by ${by} ms` : ''
      this.#each(`setClock${this.members.nameOf(options)}${how}`, marbles, undefined, ({ mark }) => {
        const ms = typeof by === 'number' ? by : by[mark]
        if (ms === undefined) throw new ConfigurationError(`setClock '${marbles}': ${mark} has no ms`)
        this.broker.setClock(driver, ms)
        this.noted({ what: 'clock set', client, wall: driver.wallTime!() })
      })
    },

    outage: marbles => {
      this.#span(
        'outage',
        marbles,
        () => this.broker.disconnect(),
        () => this.broker.reconnect(),
      )
    },

    failNext: (kind, marbles, errors = {}) =>
      this.#each(`${kind} fails`, marbles, undefined, ({ frame, mark }) => {
        this.broker.failNext(kind, mark in errors ? errors[mark] : new Error(`${mark}, as ordered at frame ${frame}`))
      }),
  }

  /** A record is about to be delivered to its subscriber. */
  delivered(letter: string, record: ConsumeRecord<unknown>): void {
    this.#newest.set(letter, record)
    const frame = this.clock.now()
    const due = this.#early.find(early => early.letter === letter && early.frame === frame)
    if (due === undefined) return
    this.#early.splice(this.#early.indexOf(due), 1)
    this.clock.scheduler.schedule(() => due.settle(record))
  }

  /** Ends all freezes. */
  thaw(): void {
    for (const driver of this.#frozen) this.broker.thaw(driver)
  }

  /** Called once, when the run is over. */
  end(): void {
    for (const { what, letter, frame } of this.#early) {
      const why = this.#newest.has(letter) ? 'was not delivered by then, or was settled already' : 'was never delivered'
      const error = new Error(`${what} of ${letter} at frame ${frame}: ${letter} ${why}`)
      this.problems.push({ error, unmet: true })
    }
  }

  #settle(what: string, marbles: string, settle: (record: ConsumeRecord<unknown>, letter: string) => void): void {
    this.#each(what, marbles, undefined, ({ frame, mark: letter }) => {
      const record = this.#newest.get(letter)
      if (record !== undefined && !record.settled) settle(record, letter)
      else this.#early.push({ what, letter, frame, settle: record => settle(record, letter) })
    })
  }

  #span(
    name: string,
    marbles: string,
    begin: () => void,
    end: () => void,
  ): { readonly from: number; readonly to: number } {
    const { from, to } = parseSpan(marbles) ?? {}
    if (from === undefined || to === undefined) throw new ConfigurationError(`${name} '${marbles}': there is no ^`)
    this.#note(marbles)
    const marks = [{ frame: from, mark: '^' }]
    const input: Context = { name, marks }
    this.context.push(input)
    this.#at(from, begin, input)
    if (to !== Number.POSITIVE_INFINITY) {
      marks.push({ frame: to, mark: '!' })
      this.#at(to, end, input)
    }
    return { from, to }
  }

  #at(frame: number, act: () => void, input: Context): void {
    this.clock.at(frame, () => {
      try {
        act()
      } catch (error) {
        this.problems.push({ error, input })
      }
    })
  }

  #eachPartition(what: string, topic: string, marbles: Diagrams, act: (partition: number) => void): void {
    const diagrams = typeof marbles === 'string' ? [marbles] : marbles
    diagrams.forEach((diagram, partition) => {
      this.#each(`${what} ${topic}-${partition}`, diagram, undefined, () => act(partition))
    })
  }

  #each(name: string, marbles: string, legend: Context['legend'], act: (mark: Mark) => void): void {
    const marks = parseDiagram(marbles)
    if (marks.some(({ mark }) => mark === '|' || mark === '#')) {
      throw new ConfigurationError(`${name} '${marbles}': | and # have no meaning here; what is put in has no end`)
    }
    this.#note(marbles)
    const input: Context = { name, marks, legend }
    this.context.push(input)
    for (const mark of marks) this.#at(mark.frame, () => act(mark), input)
  }

  #note(marbles: string): void {
    this.lastFrame = Math.max(this.lastFrame, endOf(marbles))
  }
}

function contentOf(letter: string, content: RecordContent = letter) {
  return typeof content === 'string'
    ? { value: content }
    : { ...content, value: content.value === undefined ? letter : content.value }
}

/** The key and the value for the legend; empty if the letter says it all. */
function described(letter: string, { key, value }: { readonly key?: unknown; readonly value: unknown }): string {
  const parts = [key == null ? [] : [`key ${shown(key)}`], value === letter ? [] : [`value ${shown(value)}`]].flat()
  return parts.map(part => `, ${part}`).join('')
}
