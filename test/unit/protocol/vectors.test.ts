import { describe, expect, it } from 'vitest'
import { asKafkaJson, type Values } from './any-value'
import { messageHalves } from './message-halves'
import { vectors } from './vectors'

describe("messages as Kafka's own classes write them", () => {
  it.each(messageHalves)('are decoded and encoded as by Kafka: $name version $version', half => {
    const own = vectors.filter(({ name, version }) => name === half.name && version === half.version)
    expect(own.length).toBeGreaterThan(0)
    for (const { hex, json } of own) {
      const value = half.decode(Buffer.from(hex, 'hex')) as Values
      expect(asKafkaJson(half.fields, half.version, value)).toEqual(json)
      expect(half.encode(value).toString('hex')).toBe(hex)
    }
  })

  it('exist for exactly every request and response in every version', () => {
    const kept = new Set(vectors.map(({ name, version }) => `${name} ${version}`))
    expect([...kept].sort()).toEqual(messageHalves.map(({ name, version }) => `${name} ${version}`).sort())
  })
})
