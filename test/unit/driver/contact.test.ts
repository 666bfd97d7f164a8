import { expect, it } from 'vitest'
import { systemClock } from '../../../src/clock'
import { Contact } from '../../../src/drivers/kafka/membership/contact'

function contact() {
  const times = { wall: 1_000_000, monotonic: 0 }
  const confirmed: number[] = []
  const clock = { ...systemClock, wall: () => times.wall, monotonic: () => times.monotonic }
  return { times, confirmed, contact: new Contact(clock, 10_000, () => confirmed.push(times.monotonic)) }
}

it('a doubt that someone was told of is confirmed by the next answer, although the clock was set back before it', () => {
  const { times, confirmed, contact: group } = contact()
  times.wall += 3_600_000
  expect(group.doubtful).toBe(true)
  times.wall -= 3_600_000
  expect(group.doubtful).toBe(false)
  times.monotonic = 500
  group.answered(group.now())
  expect(confirmed).toEqual([500])
  group.answered(group.now())
  expect(confirmed).toEqual([500])
})

it('a doubt of which nobody was told needs no confirmation, and an answer to an old request confirms nothing', () => {
  const { times, confirmed, contact: group } = contact()
  const before = group.now()
  times.monotonic = 20_000
  group.answered(group.now())
  expect(confirmed).toEqual([])
  times.monotonic = 40_000
  expect(group.doubtful).toBe(true)
  group.answered(before)
  expect(confirmed).toEqual([])
  group.answered(group.now())
  expect(confirmed).toEqual([40_000])
})

it('a membership that begins has nothing to confirm, although the one before ended in doubt', () => {
  const { times, confirmed, contact: group } = contact()
  times.monotonic = 20_000
  expect(group.doubtful).toBe(true)
  group.begins(group.now())
  times.monotonic = 21_000
  group.answered(group.now())
  expect(confirmed).toEqual([])
})
