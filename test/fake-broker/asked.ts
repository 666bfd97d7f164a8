import type { AnyMessage, SentResponseOf } from '../../src/protocol/schema/message'

/** A request as it reached a broker. */
export interface Asked {
  readonly node: number
  readonly name: string
  readonly version: number
  // biome-ignore lint/suspicious/noExplicitAny: which message it is the test knows.
  readonly request: any
}

/** What becomes of a request and its answer. */
export interface Fate {
  /** The answer is held back for so long, ms. */
  readonly delay?: number
  /** The answer is held back until this resolves. */
  readonly until?: Promise<unknown>
  /** The broker acts on it only after so long, ms. */
  readonly late?: number
  /** `'silence'`: the broker acts on it and never answers. `'cut'`: it closes the connection instead of acting. */
  readonly ending?: 'silence' | 'cut'
  /** The answer that is given in place of the broker's own. */
  // biome-ignore lint/suspicious/noExplicitAny: which message it is the test knows.
  readonly change?: (answer: any) => SentResponseOf<AnyMessage>
}

/** Says for each request of one name what becomes of it; `undefined`: as the broker does by itself. */
export type Fault = (asked: Asked) => Fate | undefined

/** The innermost error codes of an answer are these: of each partition, of each group, or of the whole. */
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
