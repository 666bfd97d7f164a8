import type { Program } from './program.js'
import type { Target } from './target.js'

/** The input of one run. The group and the scratch topic are new in every run. */
export interface Task {
  readonly brokers: string[]
  readonly topic: string
  readonly group: string
  /** An empty topic that the contender can write to. */
  readonly scratch: string
  readonly records: number
}

/** The figures of one run, by column. */
export interface Measurement {
  readonly [column: string]: number
}

/** One run of a contender, in its own process. */
export type Work = (task: Task) => Promise<Measurement>

/** A `Work` runs in this version of Node. A contender that needs another version or language is a `Program`. */
export type Contender = Work | Program

/** The size, headers and compression of records. */
export interface Shape {
  readonly bytes: number
  readonly headers?: readonly string[]
  readonly compression?: 'gzip' | 'snappy'
}

/** One kind of work, and the contenders that do it. */
export interface Row {
  readonly title: string
  /** The number of records, unless `--records` replaces it. */
  readonly records: number
  /** The records in the topic before a run. If absent, each run has its own empty topic. */
  readonly filled?: Shape
  readonly contenders: { readonly [name: string]: Contender }
  /** The main column, which comes first in the table. */
  readonly figure: string
  /** The contender that all others are compared with, in the column `figure`. */
  readonly base: string
  /** When a run ends, the broker is asked whether everything is committed; `except` lists the contenders that do not commit. */
  readonly committed?: { readonly except: readonly string[] }
  /** The targets of each contender. */
  readonly targets: { readonly [contender: string]: readonly Target[] }
}

export const bytes100: Shape = { bytes: 100 }
