import type { Program } from './program.js'
import type { Target } from './target.js'

/** What a contender is given: a topic of its row's making, and names that nobody else has. */
export interface Task {
  readonly brokers: string[]
  readonly topic: string
  readonly group: string
  /** An empty topic, for what the row writes. */
  readonly scratch: string
  readonly records: number
}

/** What one run came to, by column. */
export interface Measurement {
  readonly [column: string]: number
}

/** What one contender does in one run. It has a process of its own. */
export type Work = (task: Task) => Promise<Measurement>

/** Work is run by this Node; what needs another Node or is no JavaScript is a program. */
export type Contender = Work | Program

/** What records look like. */
export interface Shape {
  readonly bytes: number
  readonly headers?: readonly string[]
  readonly compression?: 'gzip' | 'snappy'
}

/** One kind of work, and who is to do it. */
export interface Row {
  readonly title: string
  /** How many records, unless `--records` says otherwise. */
  readonly records: number
  /** What the topic holds before; absent, it is empty, and each run has one of its own. */
  readonly filled?: Shape
  readonly contenders: { readonly [name: string]: Contender }
  /** The column that counts; the table begins with it. */
  readonly figure: string
  /** Whom all are compared with in `figure`. */
  readonly base: string
  /** Everything has to be committed when a run ends, which is asked of the broker; but not by these contenders. */
  readonly committed?: { readonly except: readonly string[] }
  /** By contender. */
  readonly targets: { readonly [contender: string]: readonly Target[] }
}

export const bytes100: Shape = { bytes: 100 }
