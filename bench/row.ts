/** What a contender is given: a topic of its row's making, and names that nobody else has. */
export interface Task {
  readonly brokers: string[]
  readonly topic: string
  readonly group: string
  /** An empty topic, for what the row writes. */
  readonly scratch: string
  readonly records: number
}

/** What one run came to, by column; `rate`, per second, is what is compared. */
export interface Measurement {
  readonly rate: number
  readonly [column: string]: number
}

/** One run, in a process of its own. */
export type Contender = (task: Task) => Promise<Measurement>

/** One kind of work, and who is to do it. */
export interface Row {
  readonly title: string
  /** How many records, unless `--records` says otherwise. */
  readonly records: number
  /** What the topic holds before; default: that many records. */
  readonly filled?: boolean
  /** Whom the others are compared with. */
  readonly base: string
  readonly contenders: { readonly [name: string]: Contender }
}
