import { channel } from 'node:diagnostics_channel'
import { afterAll, expect } from 'vitest'

const operations = ['receive', 'process', 'settle']

/** Suites share a process. A subscriber that one of them leaves would make another wait for ever for "nobody is watching". */
afterAll(() => {
  const left = operations.filter(name => channel(`tracing:rxmika:${name}:start`).hasSubscribers)
  expect(left, 'tracing channels that this file leaves subscribed').toEqual([])
})
