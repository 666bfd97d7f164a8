import type { Connection } from './connection.js'
import type { Output } from './output.js'
import type { Progress } from './progress.js'

/** What every command works with. */
export interface Surroundings {
  readonly output: Output
  readonly progress: Progress
  readonly json: boolean
  /** Questions are asked and answered here, if both are terminals. */
  readonly stdin: NodeJS.ReadStream
  readonly stderr: NodeJS.WriteStream
  /** Aborted with an `InterruptedError` if the user wants the command to end. */
  readonly interrupted: AbortSignal
}

/** What a command works with that sends requests to Kafka. */
export interface Context extends Surroundings {
  readonly connection: Connection
}
