import type { AnyMessage, SentResponseOf } from '../../src/protocol/schema/message'

/** A request as it reached a broker. */
export interface Asked {
  readonly node: number
  readonly name: string
  readonly version: number
  // biome-ignore lint/suspicious/noExplicitAny: which message it is the test knows.
  readonly request: any
}

/** What the fake broker does with a request and its answer. */
export interface Fate {
  /** Delays the answer, ms. */
  readonly delay?: number
  /** Delays the answer until this resolves. */
  readonly until?: Promise<unknown>
  /** Delays the processing of the request, ms. */
  readonly late?: number
  /** `'silence'`: the broker processes the request and never answers. `'cut'`: it closes the connection without processing it. */
  readonly ending?: 'silence' | 'cut'
  /** Replaces the broker's answer. */
  // biome-ignore lint/suspicious/noExplicitAny: which message it is the test knows.
  readonly change?: (answer: any) => SentResponseOf<AnyMessage>
}

/** Decides what happens to each request of one name. `undefined`: the broker's ordinary behaviour. */
export type Fault = (asked: Asked) => Fate | undefined

/** Sets the innermost error codes of an answer: of each partition, of each group, or of the whole answer. */
export function refusing(code: number): Fate {
  return { change: answer => withCode(answer, code) }
}

function withCode<T>(answer: T, code: number): T {
  if (!hasCode(answer)) return answer
  if (Array.isArray(answer)) return answer.map(each => withCode(each, code)) as T
  const inner = Object.entries(answer as object).filter(([, value]) => Array.isArray(value) && hasCode(value))
  if (inner.length === 0) return { ...answer, errorCode: code }
  return { ...answer, ...Object.fromEntries(inner.map(([name, value]) => [name, withCode(value, code)])) }
}

function hasCode(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasCode)
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return false
  return 'errorCode' in value || Object.values(value).some(hasCode)
}
