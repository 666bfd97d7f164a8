import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url))

// Tests import the package by its public name, as users do; here that name means the sources.
export const alias = [
  { find: /^rxmika$/, replacement: source('./src/index.ts') },
  { find: /^rxmika\/inspector$/, replacement: source('./src/inspector/index.ts') },
  { find: /^rxmika\/opentelemetry$/, replacement: source('./src/opentelemetry/index.ts') },
  { find: /^rxmika\/testing$/, replacement: source('./src/testing/index.ts') },
]

// A warning is an error, and so is a subscriber that is left on a tracing channel.
export const setupFiles = [source('./test/strict.ts'), source('./test/channels-left.ts')]

/** By their path: these take a minute or more. Begun last, they would run alone at the end, beside an idle core. */
const long = ['test/kafka/chaos', 'test/contract/', 'test/properties/histories']

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const found = long.findIndex(path => moduleId.includes(path))
      return found < 0 ? long.length : found
    }
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other))
  }
}

// Vitest's default leaves one core to itself, which is half of a small machine.
const maxWorkers = Math.max(2, availableParallelism() - 1)

export default defineConfig({
  test: {
    dangerouslyIgnoreUnhandledErrors: false,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        resolve: { alias },
        test: {
          name: 'unit',
          include: ['test/{marbles,properties,types,unit,contract,docs,browser}/**/*.test.ts'],
          setupFiles,
          exclude: ['**/*.kafka.test.ts'],
          typecheck: { enabled: false },
          // Generated tests use the processor, and wait for nothing: this limit finds what hangs, also on a machine that is
          // busy with the Kafka tests beside them.
          testTimeout: 30_000,
          // Each file gives back what it fakes: one process for many saves a third of their time.
          isolate: false,
          maxWorkers,
        },
      },
      {
        resolve: { alias },
        test: {
          name: 'kafka',
          include: ['test/**/*.kafka.test.ts'],
          setupFiles,
          globalSetup: ['test/kafka/global-setup.ts'],
          // They wait for brokers more than they compute. Topics and groups have names of their own, and what kills brokers
          // starts its own.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      // What the others are run by.
      { test: { name: 'gate', include: ['test/gate/*.test.ts'], setupFiles, maxWorkers } },
      // The packed package, by every version of what it runs with and is compiled by: each a command of its own.
      {
        test: {
          name: 'matrix',
          include: ['test/matrix/*.test.ts'],
          setupFiles,
          globalSetup: ['test/package/global-setup.ts'],
        },
      },
      // The packages of examples/, each installed with the packed package and run on a real Kafka.
      {
        resolve: { alias },
        test: {
          name: 'examples',
          include: ['test/examples/*.test.ts'],
          setupFiles,
          globalSetup: ['test/kafka/global-setup.ts', 'test/package/global-setup.ts', 'test/examples/global-setup.ts'],
          // Each file has topics and groups of its own.
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: 'package',
          include: ['test/package/**/*.test.ts'],
          setupFiles,
          globalSetup: ['test/package/global-setup.ts'],
          exclude: ['**/*.kafka.test.ts'],
        },
      },
    ],
  },
})
