/**
 * A warning of Node's own is an error: too many listeners, a negative time-out, a deprecated call (guarantee 20).
 *
 * Thrown where nobody catches it, it ends a program, and Vitest lets the whole run fail, as it does for unhandled
 * rejections. Loaded before every suite, and by every program that a suite starts.
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
