import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MalformedMessageError } from '../../src/protocol/wire/malformed-message-error.js'
import { anyStruct, completed, type Values } from '../unit/protocol/any-value'
import { type MessageHalf, messageHalves } from '../unit/protocol/message-halves'
import { vectors } from '../unit/protocol/vectors'

/** Decodes the bytes, or expects the one error. Returns whether they were decoded. */
function survives(half: MessageHalf, bytes: Buffer): boolean {
  try {
    half.decode(bytes)
    return true
  } catch (error) {
    if (error instanceof MalformedMessageError) return false
    throw new Error(`${half.name} version ${half.version} of ${bytes.toString('hex')}`, { cause: error })
  }
}

/** Lengths, counts and varints that are larger than the rest of the message, or negative. */
const hostile = ['7fffffff', '80000000', 'fffffffe', '7fff', '8000', 'ffffffff0f', 'ffffffffff7f', '8080808080', 'ff7f']

describe('messages', () => {
  it.each(messageHalves)('are decoded as they were encoded: $name version $version', half => {
    fc.assert(
      fc.property(anyStruct(half.fields, half.version), value => {
        expect(half.decode(half.encode(value))).toEqual(completed(half.fields, half.version, value))
      }),
      { numRuns: 10 },
    )
  })

  it.each(messageHalves)(
    'that are cut off at any byte are refused with a MalformedMessageError: $name version $version',
    half => {
      const [value] = fc.sample(anyStruct(half.fields, half.version), { numRuns: 1 })
      const bytes = half.encode(value!)
      for (let cut = 0; cut < bytes.length; cut++) {
        expect(survives(half, bytes.subarray(0, cut)), `to ${cut}`).toBe(false)
      }
    },
  )

  it('of any bytes are decoded, or refused with a MalformedMessageError', () => {
    fc.assert(
      fc.property(fc.constantFrom(...messageHalves), fc.uint8Array({ maxLength: 300 }), (half, bytes) => {
        survives(half, Buffer.from(bytes))
      }),
      { numRuns: 3_000 },
    )
  })

  it('with a hostile length or count anywhere are decoded, or refused with a MalformedMessageError', () => {
    const wellFormed = fc
      .constantFrom(...messageHalves)
      .chain(half => anyStruct(half.fields, half.version).map(value => ({ half, bytes: half.encode(value) })))
    fc.assert(
      fc.property(wellFormed, fc.nat(), fc.constantFrom(...hostile), ({ half, bytes }, place, hex) => {
        const at = place % (bytes.length + 1)
        const wrong = Buffer.from(hex, 'hex')
        // Overwriting bytes, and inserted between them.
        survives(half, Buffer.concat([bytes.subarray(0, at), wrong, bytes.subarray(at + wrong.length)]))
        survives(half, Buffer.concat([bytes.subarray(0, at), wrong, bytes.subarray(at)]))
      }),
      { numRuns: 1_000 },
    )
  })

  it.each(messageHalves)(
    'that announce more than they contain use no additional memory: $name version $version',
    half => {
      // A count is compared with the bytes that are left, so at most one element per byte is read.
      const { hex } = vectors.find(({ name, version }) => name === half.name && version === half.version)!
      const bytes = Buffer.from(hex, 'hex')
      for (let at = 0; at + 4 <= bytes.length; at++) {
        const copy = Buffer.from(bytes)
        copy.writeInt32BE(0x7fff_fff0, at)
        if (survives(half, copy)) expect(elements(half.decode(copy))).toBeLessThanOrEqual(bytes.length)
      }
    },
  )

  it('skip unknown tagged fields', () => {
    const flexible = messageHalves.filter(({ flexible }) => flexible)
    fc.assert(
      fc.property(
        fc.constantFrom(...flexible).chain(half => fc.tuple(fc.constant(half), anyStruct(half.fields, half.version))),
        fc.uint8Array({ maxLength: 20 }),
        ([half, value], unknown) => {
          const bytes = half.encode(withoutTags(half, value))
          // The last byte counts the tagged fields of the outermost struct: none.
          expect(bytes.at(-1)).toBe(0)
          const more = Buffer.concat([bytes.subarray(0, -1), Buffer.from([1, 100, unknown.length]), unknown])
          expect(half.decode(more)).toEqual(half.decode(bytes))
        },
      ),
    )
  })
})

function withoutTags({ fields }: MessageHalf, value: Values): Values {
  return Object.fromEntries(
    Object.entries(value).filter(([name]) => {
      const field = fields[name]!
      return !('type' in field) || field.tag === undefined
    }),
  )
}

function elements(value: unknown): number {
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return 0
  const inside = Object.values(value).reduce((sum: number, each) => sum + elements(each), 0)
  return Array.isArray(value) ? inside + value.length : inside
}
