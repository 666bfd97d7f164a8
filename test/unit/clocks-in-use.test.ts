import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Files that read a clock directly, each with its reason. Any other file must measure durations by a `Clock`. */
const allowed: Readonly<Record<string, string>> = {
  'src/clock.ts': 'is the clock',
  'src/testing/clock.ts': 'frames of fake timers, and whether both clocks are faked',
  'src/testing/record-marbles.ts': 'dates the entries of a recording',
  'src/inspector/page/main.ts': 'runs in a browser, and measures by its own monotonic clock',
  'src/drivers/memory/member-process.ts': 'hands on the function by which a Clock knows real time',
  'src/drivers/memory/cluster.ts': 'the timestamp of a record that the test itself writes',
}

/** Reads of a clock: by JavaScript itself, and by RxJS's schedulers and operators, which read the wall clock. */
const readings =
  /\bDate\.now\b|\bnew Date\(\s*\)|\bDate\(\)|\bperformance\b|\bhrtime\b|cheduler\.now\b|\btimeInterval\b/

it('reads clocks only by a Clock, which separates wall time from measuring', () => {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => `src/${name}`)
  expect(files.length).toBeGreaterThan(100)
  const found = files.filter(file => readings.test(withoutComments(readFileSync(join(root, file), 'utf8'))))
  expect(found.sort()).toEqual(Object.keys(allowed).sort())
})

it('detects each way to read one', () => {
  for (const code of [
    'Date.now()',
    'const { now } = Date.now',
    'new Date()',
    'performance.now()',
    'process.hrtime()',
  ]) {
    expect(readings.test(code), code).toBe(true)
  }
  for (const code of ['asyncScheduler.now()', 'this.scheduler.now()', 'timeInterval()']) {
    expect(readings.test(code), code).toBe(true)
  }
  for (const code of ['new Date(key)', 'clock.monotonic()', 'batch.timestamp(index)', 'clock.now()']) {
    expect(readings.test(code), code).toBe(false)
  }
})

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
}
