import type { Connection } from './connection.js'
import type { Output } from './output.js'
import type { Progress } from './progress.js'

/** What every command works with. */
export interface Surroundings {
  readonly output: Output
  readonly progress: Progress
  readonly json: boolean
  /** Where answers are read from, if it is a terminal. */
  readonly stdin: NodeJS.ReadStream
  /** Aborted with an `InterruptedError` if the user wants the command to end. */
  readonly interrupted: AbortSignal
}

/** What a command works with that asks Kafka. */
export interface Context extends Surroundings {
  readonly connection: Connection
}
