import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FrameReader } from '../../src/drivers/kafka/transport/frames'

const framed = (payloads: readonly Buffer[]) =>
  Buffer.concat(
    payloads.flatMap(payload => {
      const size = Buffer.alloc(4)
      size.writeInt32BE(payload.length)
      return [size, payload]
    }),
  )

/** The bytes in pieces of these sizes. The last piece has the rest. */
const cut = (bytes: Buffer, sizes: readonly number[]) => {
  const pieces: Buffer[] = []
  let at = 0
  for (const size of sizes) {
    if (at >= bytes.length) break
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  if (at < bytes.length) pieces.push(bytes.subarray(at))
  return pieces
}

const payload = fc.uint8Array({ minLength: 4, maxLength: 200 }).map(bytes => Buffer.from(bytes))

describe('frames', () => {
  it('are complete and in order, however their bytes arrive', () => {
    fc.assert(
      fc.property(fc.array(payload), fc.array(fc.integer({ min: 1, max: 70 })), (payloads, sizes) => {
        const reader = new FrameReader()
        const read: Buffer[] = []
        for (const piece of cut(framed(payloads), sizes)) {
          expect(reader.push(piece, frame => read.push(frame))).toBe(true)
          // The socket reuses the memory of a chunk.
          piece.fill(0)
        }
        expect(read.map(bytes => bytes.toString('hex'))).toEqual(payloads.map(bytes => bytes.toString('hex')))
      }),
    )
  })

  it('are read directly into their buffer if they are large, also among others', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 4, max: 200 }), fc.integer({ min: 30_000, max: 200_000 })), {
          maxLength: 8,
        }),
        fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 20 }),
        (lengths, sizes) => {
          const payloads = lengths.map((length, at) => Buffer.alloc(length, at + 1))
          const bytes = framed(payloads)
          const reader = new FrameReader()
          const read: Buffer[] = []
          const elsewhere = Buffer.alloc(70_000)
          let at = 0
          for (let turn = 0; at < bytes.length; turn++) {
            const into = reader.room ?? elsewhere
            const taken = Math.min(sizes[turn % sizes.length]!, into.length, bytes.length - at)
            bytes.copy(into, 0, at, at + taken)
            reader.push(into.subarray(0, taken), frame => read.push(frame))
            at += taken
          }
          expect(read.map(frame => frame.equals(payloads[read.indexOf(frame)]!))).toEqual(payloads.map(() => true))
        },
      ),
    )
  })

  it('are refused if a peer announces a size that no broker sends', () => {
    for (const hello of [
      'HTTP/1.1 400 Bad Request\r\n',
      Buffer.from([21, 3, 3, 0, 2, 2, 70]),
      Buffer.from([255, 255, 255, 255]),
    ]) {
      expect(new FrameReader().push(Buffer.from(hello), () => {})).toBe(false)
    }
  })
})
