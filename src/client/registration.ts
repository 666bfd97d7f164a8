import { types } from 'node:util'
import { TopicAlreadyRegisteredError } from '../errors.js'
import { invalid } from '../options.js'
import type { TopicSelection } from './client.js'
import { topicName } from './config.js'
import type { StreamTopic } from './stream-topic.js'
import type { TopicNames } from './topic-names.js'
import type { TopicConfig } from './topic-options.js'
import type { TopicStream } from './topic-stream.js'

/** A checked selection of topics: one name, several names, or a pattern. */
export interface Selection {
  /** As messages name it. */
  readonly label: string
  /** Equal for two selections that select the same topics in the same way. */
  readonly key: string
  /** Full names; undefined for a pattern. */
  readonly names: readonly string[] | undefined
  /** True for one name: the topic must exist. Other selections read topics while they exist. */
  readonly isOne: boolean
  /** Whether it selects a topic, by its full name. */
  has(topic: string): boolean
}

/** @throws ConfigurationError if it selects nothing, or contains an invalid topic name. */
export function select(what: TopicSelection, names: TopicNames): Selection {
  if (types.isRegExp(what)) return byPattern(what, names)
  if (Array.isArray(what)) return byNames(what, names)
  if (typeof what !== 'string') throw invalid('topic', what, 'must be a name, an array of names or a RegExp')
  const name = topicName('topic', what as string, names.suffix)!
  return { label: what as string, key: name, names: [name], isOne: true, has: topic => topic === name }
}

function byNames(what: readonly string[], { suffix }: TopicNames): Selection {
  if (what.length === 0) throw invalid('topic', what, 'must name at least one topic')
  // Copied, because the caller's array may change.
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
  // Copied, because with `g` or `y` a pattern has a state, which the caller may change.
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

/** One call of `topic`: a stream, and the topics whose records go to it. */
export class Registration {
  /**
   * By full name, in the order they were found. A deleted topic stays: its retries may be pending, and it is still paused if
   * it is created again.
   */
  readonly topics = new Map<string, StreamTopic>()
  /** For records on the retry and DLQ topics whose topic is selected but was not found here. */
  others: StreamTopic | undefined
  /** The topics of the first lookup that still exist; undefined before it. */
  atFirst: Set<string> | undefined
  #allPaused = false
  /** Full names of topics that are not paused like the others. */
  readonly #exceptions = new Set<string>()

  constructor(
    readonly selection: Selection,
    readonly config: TopicConfig<unknown>,
    readonly stream: TopicStream,
  ) {}

  get all(): readonly StreamTopic[] {
    return this.others === undefined ? [...this.topics.values()] : [...this.topics.values(), this.others]
  }

  /** Whether a newly found topic is paused. */
  isPaused(topic: string): boolean {
    return this.#allPaused !== this.#exceptions.has(topic)
  }

  /** @returns the topics for which this changed something. */
  pauseAll(paused: boolean): StreamTopic[] {
    this.#allPaused = paused
    this.#exceptions.clear()
    return this.all.filter(topic => changed(topic, paused)).filter(topic => topic !== this.others)
  }

  /** @returns the topic, if this changed something. */
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
