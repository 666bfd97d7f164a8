// One thing alone, for which types are needed: promises that nobody waits for, and whose rejection therefore ends the
// process (guarantee 20). Everything else is Biome's.
import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

// Their promises never reject, by contract: nobody has to wait for the end of a client.
const allowForKnownSafeCalls = [{ from: 'file', name: ['close', 'closeGracefully'], path: 'src/client/client.ts' }]

export default defineConfig(
  {
    files: ['{src,examples,chaos,bench,test,scripts}/**/*.ts', '*.config.ts'],
    // Packages of their own, whose dependencies are not installed here.
    ignores: ['test/package/fixtures/**', 'test/gate/specimens/**', 'examples/*/src/**'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // `void` does not say that a rejection is caught: one that was marked so ended processes.
      '@typescript-eslint/no-floating-promises': [
        'error',
        { checkThenables: true, ignoreVoid: false, allowForKnownSafeCalls },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
    },
  },
  {
    // Here it does no harm: the suite fails by the rejection.
    files: ['test/**/*.test.ts'],
    ignores: ['test/gate/specimens/**'],
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', { checkThenables: true, allowForKnownSafeCalls }],
    },
  },
)
