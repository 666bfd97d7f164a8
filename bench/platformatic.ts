import { nodeNewer, peers } from './peers/install.js'
import { type Program, script } from './program.js'

/** @platformatic/kafka in two major versions. Version 1 is the last one for Node 20. `row` selects the work. */
export const platformatic = (row: string): { readonly [name: string]: Program } => ({
  '@platformatic/kafka 1': {
    command: async () => {
      await peers()
      return script('peers/platformatic', ['platformatic-kafka-1', row])
    },
  },
  '@platformatic/kafka 2, Node 24': {
    command: async () => {
      await peers()
      return script('peers/platformatic', ['platformatic-kafka-2', row], nodeNewer())
    },
  },
})
