import { expect, it } from 'vitest'
import { systemClock } from '../../../src/clock'
import { Contact } from '../../../src/drivers/kafka/membership/contact'

it('a membership that begins has nothing to confirm, although the one before ended in doubt', () => {
  const times = { wall: 1_000_000, monotonic: 0 }
  const confirmed: number[] = []
  const clock = { ...systemClock, wall: () => times.wall, monotonic: () => times.monotonic }
  const group = new Contact(clock, 10_000, () => confirmed.push(times.monotonic))
  times.monotonic = 20_000
  expect(group.doubtful).toBe(true)
  group.begins(group.now())
  times.monotonic = 21_000
  group.answered(group.now())
  expect(confirmed).toEqual([])
})
