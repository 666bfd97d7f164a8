import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { partitionName, placeName } from '../../src/place.js'

it('a place has one notation, whatever type its offset has', () => {
  expect(partitionName({ topic: 'orders', partition: 3 })).toBe('orders-3')
  for (const offset of [1042, 1042n, '1042']) {
    expect(placeName({ topic: 'orders', partition: 3, offset })).toBe('orders-3@1042')
  }
})

it('no source file uses another notation for a place', () => {
  const others =
    /\$\{[^}]*topic[^}]*\}(\/|\[|:| partition | offset )\$\{[^}]*(partition|offset)|partition \$\{[^}]*\} offset/i
  const sources = readdirSync('src', { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  expect(sources.length).toBeGreaterThan(100)
  const found = sources.flatMap(({ parentPath, name }) => {
    const lines = readFileSync(join(parentPath, name), 'utf8').split('\n')
    return lines.flatMap((line, at) => (others.test(line) ? [`${parentPath}/${name}:${at + 1}: ${line.trim()}`] : []))
  })
  expect(found).toEqual([])
})
