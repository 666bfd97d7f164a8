import { types } from 'node:util'
import { TopicAlreadyRegisteredError } from '../errors.js'
import { invalid } from '../options.js'
import type { TopicSelection } from './client.js'
import { topicName } from './config.js'
import type { StreamTopic } from './stream-topic.js'
import type { TopicNames } from './topic-names.js'
import type { TopicConfig } from './topic-options.js'
import type { TopicStream } from './topic-stream.js'

/** What is registered, checked: one name, several, or all that match. */
export interface Selection {
  /** As messages name it. */
  readonly label: string
  /** The same of two that select the same in the same way. */
  readonly key: string
  /** Full names; undefined: those that match. */
  readonly names: readonly string[] | undefined
  /** One name: the topic has to exist. Others are read while they do. */
  readonly isOne: boolean
  /** Whether it selects the topic, by its full name. */
  has(topic: string): boolean
}

/** @throws ConfigurationError if it selects nothing, or what is no topic name. */
export function select(what: TopicSelection, names: TopicNames): Selection {
  if (types.isRegExp(what)) return byPattern(what, names)
  if (Array.isArray(what)) return byNames(what, names)
  if (what === undefined) throw invalid('topic', what, 'must be a non-empty string')
  const name = topicName('topic', what as string, names.suffix)!
  return { label: what as string, key: name, names: [name], isOne: true, has: topic => topic === name }
}

function byNames(what: readonly string[], { suffix }: TopicNames): Selection {
  if (what.length === 0) throw invalid('topic', what, 'must name at least one topic')
  // A copy: the caller's array may change.
  const full = Array.from(what, (name, at) => {
    if (name === undefined) throw invalid(`topic[${at}]`, name, 'must be a non-empty string')
    return topicName(`topic[${at}]`, name, suffix)!
  })
  const set = new Set(full)
  const twice = what.find((name, at) => what.indexOf(name) !== at)
  if (twice !== undefined) throw new TopicAlreadyRegisteredError(twice)
  return {
    label: what.join(', '),
    key: JSON.stringify([...full].sort()),
    ...{ names: full, isOne: false, has: topic => set.has(topic) },
  }
}

function byPattern(what: RegExp, names: TopicNames): Selection {
  // Its own: with `g` or `y` a pattern remembers where it was, and the caller may use it, too.
  const pattern = new RegExp(what.source, what.flags.replace('g', ''))
  return {
    ...{ label: String(what), key: String(what), names: undefined, isOne: false },
    has: topic => {
      if (!names.hasSuffix(topic)) return false
      pattern.lastIndex = 0
      return pattern.test(names.user(topic))
    },
  }
}

/** What was registered by one call of `topic`: a stream, and the topics whose records go there. */
export class Registration {
  /**
   * By full name, in the order they were seen. One that is gone stays: its retries may be under way, and it keeps its pause if
   * it comes again.
   */
  readonly topics = new Map<string, StreamTopic>()
  /** For records on the retry and DLQ topics whose topic is selected, and has not been seen here. */
  others: StreamTopic | undefined
  /** Those that were there when it was first looked, and are there still; undefined: nobody has looked. */
  atFirst: Set<string> | undefined
  #allPaused = false
  /** Full names of topics whose pause is another than that of all. */
  readonly #exceptions = new Set<string>()

  constructor(
    readonly selection: Selection,
    readonly config: TopicConfig<unknown>,
    readonly stream: TopicStream,
  ) {}

  get all(): readonly StreamTopic[] {
    return this.others === undefined ? [...this.topics.values()] : [...this.topics.values(), this.others]
  }

  /** Whether a topic that is seen for the first time is paused. */
  isPaused(topic: string): boolean {
    return this.#allPaused !== this.#exceptions.has(topic)
  }

  /** @returns those of its topics for which that changed something. */
  pauseAll(paused: boolean): StreamTopic[] {
    this.#allPaused = paused
    this.#exceptions.clear()
    return this.all.filter(topic => changed(topic, paused)).filter(topic => topic !== this.others)
  }

  /** @returns the topic, if that changed something. */
  pauseOne(name: string, paused: boolean): StreamTopic[] {
    if (paused === this.#allPaused) this.#exceptions.delete(name)
    else this.#exceptions.add(name)
    const topic = this.topics.get(name)
    return topic !== undefined && changed(topic, paused) ? [topic] : []
  }
}

function changed(topic: StreamTopic, paused: boolean): boolean {
  if (topic.paused === paused) return false
  topic.paused = paused
  return true
}
