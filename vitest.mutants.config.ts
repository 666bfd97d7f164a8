import { defineConfig } from 'vitest/config'
import { alias, setupFiles } from './vitest.config.js'

/**
 * The tests that judge mutants (`npm run mutants`): those of the unit project that are quick and the same every time. Not
 * those that wait for garbage collections or start processes, nor those of texts.
 */
export default defineConfig({
  resolve: { alias },
  test: {
    // Most of the time of a mutant is the loading of files, so they share a process.
    isolate: false,
    setupFiles,
    // `MUTANTS_TESTS=test/unit/a.test.ts,test/properties/b.test.ts` for a file whose tests one knows: minutes instead of an hour.
    include: process.env.MUTANTS_TESTS?.split(',') ?? ['test/{marbles,properties,unit,contract}/**/*.test.ts'],
    exclude: [
      '**/*.kafka.test.ts',
      // Their subject is src/testing, or the text of the sources.
      'test/unit/{run-marbles,marble-pictures,record-marbles,simulate,clocks-in-use}.test.ts',
      'test/properties/diagrams.test.ts',
      'test/unit/leaks.test.ts',
      'test/unit/memory/**',
      'test/unit/protocol/**',
      'test/properties/protocol-*.test.ts',
    ],
    // Stryker has time-outs of its own, by how long a test took before it changed anything.
    testTimeout: 120_000,
    env: { RXMIKA_HISTORIES: '40' },
  },
})
