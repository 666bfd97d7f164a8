// Checks only promises that are not awaited, because their rejection would end the process (guarantee 20). That needs types, which
// Biome does not have. Biome checks everything else.
import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

// By contract the promises of these methods never reject, so they may be ignored.
const allowForKnownSafeCalls = [{ from: 'file', name: ['close', 'closeGracefully'], path: 'src/client/client.ts' }]

export default defineConfig(
  {
    files: ['{src,examples,chaos,bench,test,scripts}/**/*.ts', '*.config.ts'],
    // Separate packages, whose dependencies are not installed here.
    ignores: ['test/package/fixtures/**', 'test/gate/specimens/**', 'examples/*/src/**'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // `void` is not accepted, because it does not catch a rejection. A promise that was marked with it once ended processes.
      '@typescript-eslint/no-floating-promises': [
        'error',
        { checkThenables: true, ignoreVoid: false, allowForKnownSafeCalls },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
    },
  },
  {
    // In tests `void` is accepted, because an unhandled rejection fails the suite.
    files: ['test/**/*.test.ts'],
    ignores: ['test/gate/specimens/**'],
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', { checkThenables: true, allowForKnownSafeCalls }],
    },
  },
)
