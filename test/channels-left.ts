import { channel } from 'node:diagnostics_channel'
import { afterAll, expect } from 'vitest'

const operations = ['receive', 'process', 'settle']

/** Fails a file that leaves a subscriber on a tracing channel. Files share a process, and a later one may wait until there is none. */
afterAll(() => {
  const left = operations.filter(name => channel(`tracing:rxmika:${name}:start`).hasSubscribers)
  expect(left, 'tracing channels that this file leaves subscribed').toEqual([])
})
