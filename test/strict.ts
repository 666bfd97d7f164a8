/**
 * Makes every warning of Node an error: too many listeners, a negative time-out, a deprecated call.
 *
 * The error is uncaught, so it ends a program, and makes a whole Vitest run fail, like an unhandled rejection. This file is
 * loaded before every suite, and by every program that a suite starts.
 */
const loaded = Symbol.for('rxmika.strict')
const here = globalThis as { [loaded]?: true }

// Suites share processes.
if (here[loaded] !== true) {
  here[loaded] = true
  process.on('warning', warning => {
    throw warning
  })
}
