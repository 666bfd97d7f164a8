import type { ServerResponse } from 'node:http'
import { expect, it } from 'vitest'
import { Viewer } from '../../../src/inspector/viewer'

/** A connection whose peer reads nothing. */
class Connection {
  writableLength = 0
  destroyed = false
  readonly written: string[] = []

  write(text: string): boolean {
    this.written.push(text)
    this.writableLength += text.length
    return true
  }

  destroy(): void {
    this.destroyed = true
  }

  get frames() {
    return this.written.map(text => JSON.parse(text.slice('data: '.length)))
  }
}

it('skips frames for a slow viewer, sends how many it missed, and disconnects a viewer that reads nothing', () => {
  const connection = new Connection()
  const viewer = new Viewer(connection as unknown as ServerResponse)
  viewer.begin('{}', 1)
  const frame = `"at":1,"filling":"${'x'.repeat(100_000)}"}`
  let now = 0
  for (; now < 20_000; now += 250) viewer.frame(frame, ['a', 'b'], now)
  expect(connection.writableLength).toBeLessThan(512 * 1024 + 2 * frame.length)
  const sent = connection.written.length
  expect(connection.destroyed).toBe(false)

  connection.writableLength = 0
  viewer.frame(frame, ['a', 'b', 'c'], now)
  const frames = connection.frames
  expect(frames[1]).toMatchObject({ rows: ['b'], from: 1, missed: 0 })
  expect(frames.at(-1)).toMatchObject({ rows: ['c'], from: 2, missed: 80 - (sent - 1) })

  for (; now < 60_000; now += 250) viewer.frame(frame, ['a', 'b', 'c'], now)
  expect(connection.destroyed).toBe(true)
})
