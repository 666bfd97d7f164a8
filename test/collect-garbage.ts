import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')

/** Collects all garbage of the process now. A `WeakRef` that was made or read in this turn of the event loop keeps its target until the turn ends. */
export const collectGarbage: () => void = runInNewContext('gc')
