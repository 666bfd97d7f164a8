import { expect, it } from 'vitest'
import { partitionName, placeName } from '../../src/place.js'

it('a place is written in one way, whatever its offset is held in', () => {
  expect(partitionName({ topic: 'orders', partition: 3 })).toBe('orders-3')
  for (const offset of [1042, 1042n, '1042']) {
    expect(placeName({ topic: 'orders', partition: 3, offset })).toBe('orders-3@1042')
  }
})
