import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url))

// Tests import the package by its public name, as users do. The alias points that name to the sources.
export const alias = [
  { find: /^rxmika$/, replacement: source('./src/index.ts') },
  { find: /^rxmika\/inspector$/, replacement: source('./src/inspector/index.ts') },
  { find: /^rxmika\/opentelemetry$/, replacement: source('./src/opentelemetry/index.ts') },
  { find: /^rxmika\/testing$/, replacement: source('./src/testing/index.ts') },
]

// A suite fails if Node prints a warning, or if a file leaves a subscriber on a tracing channel.
export const setupFiles = [source('./test/strict.ts'), source('./test/channels-left.ts')]

/** Paths of suites that take a minute or more. They start first: at the end they would run alone, and one core would be idle. */
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

// By default Vitest keeps one core for itself, which is half of a machine with two cores.
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
          // Generated tests need processor time. This limit only finds tests that hang, even while the Kafka tests run beside them.
          testTimeout: 30_000,
          // Files share a process, which saves a third of their time. Each file restores what it has faked.
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
          // These tests wait for brokers more than they compute, so two files run at once. Each has its own topics and groups, and a
          // test that kills brokers starts its own.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      // Tests of the checks themselves: suites and linters must fail on planted mistakes.
      { test: { name: 'gate', include: ['test/gate/*.test.ts'], setupFiles, maxWorkers } },
      // The packed package with every supported version of TypeScript. Run by its own command, `npm run matrix:types`.
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
          // Each file has its own topics and groups.
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
