import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decompress } from '../../src/protocol/records/codecs.js'
import { ExpansionBudget } from '../../src/protocol/records/expansion-budget.js'
import { LARGEST_BATCH } from '../../src/protocol/records/largest-batch.js'
import { snappy } from '../unit/decoding/compress.js'
import { encodeBatch, encodeFetchResponse } from '../unit/decoding/encode.js'
import { readFetch } from '../unit/decoding/read-fetch.js'

const MiB = 1024 * 1024
const GZIP = 1

/** The log of a partition: for each offset the bytes of its record, one record per batch. */
interface WrittenLog {
  readonly batches: readonly { readonly bytes: Buffer; readonly size: number; readonly offset: number }[]
}

/** Compressed zeros, by length, because compressing takes seconds. */
const compressed = new Map<number, Buffer>()

function gzipped(plain: Buffer): Buffer {
  const known = compressed.get(plain.length) ?? gzipSync(plain, { level: 1 })
  compressed.set(plain.length, known)
  return known
}

function writtenLog(sizes: readonly number[], isCompressed = true): WrittenLog {
  const compression = isCompressed ? { codec: GZIP, compress: gzipped } : {}
  const batches = sizes.map((size, offset) => {
    const bytes = encodeBatch({ baseOffset: offset, records: [{ value: Buffer.alloc(size) }], ...compression })
    return { bytes, size, offset }
  })
  return { batches }
}

/** The answer to a fetch of everything from these offsets on. Each answer begins with another partition. */
function answer(logs: readonly WrittenLog[], from: readonly number[], turn = 0): Buffer {
  const inOrder = logs.map(({ batches }, partition) => ({
    partition,
    records: Buffer.concat(batches.filter(({ offset }) => offset >= from[partition]!).map(({ bytes }) => bytes)),
  }))
  const first = turn % inOrder.length
  const partitions = [...inOrder.slice(first), ...inOrder.slice(0, first)]
  return encodeFetchResponse(11, { topics: [{ topic: 'orders', partitions }] })
}

/** Fetches until everything is read. Returns for each answer the bytes that its batches hold, and the offsets read. */
function readAll(logs: readonly WrittenLog[], budget?: number) {
  const next = logs.map(() => 0)
  const read = logs.map((): number[] => [])
  const held: number[] = []
  const turnsOf = logs.map((): number[] => [])
  while (logs.some(({ batches }, i) => next[i]! < batches.length)) {
    const response = readFetch(answer(logs, next, held.length), 11, {
      fetchOffset: (_, partition) => next[partition]!,
      budget: budget === undefined ? undefined : new ExpansionBudget(budget),
    })
    let bytes = 0
    for (const { partition, batches, error } of response.partitions) {
      if (error !== undefined) throw error
      for (const batch of batches) {
        bytes += batch.byteLength
        for (let i = 0; i < batch.count; i++) read[partition]!.push(batch.offset(i))
        next[partition] = batch.lastOffset + 1
      }
      if (batches.length > 0) turnsOf[partition]!.push(held.length)
    }
    held.push(bytes)
    // Each answer has at least one record, so reading always makes progress.
    expect(bytes).toBeGreaterThan(0)
  }
  return { read, held, turnsOf }
}

describe('what a fetch expands to', () => {
  it('is bounded by default, and the rest is read by the next fetch', () => {
    const log = writtenLog([20, 20, 20, 20, 20].map(size => size * MiB))
    expect(answer([log], [0]).length).toBeLessThan(MiB)
    const { read, held } = readAll([log])
    expect(read).toEqual([[0, 1, 2, 3, 4]])
    expect(held.map(bytes => Math.round(bytes / MiB))).toEqual([40, 40, 20])
  })

  it('never exceeds the budget by more than one batch, and loses and repeats nothing', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 8 })
    fc.assert(
      fc.property(
        fc.array(sizes, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 20_000 }),
        (all, budget) => {
          const { read, held } = readAll(
            all.map(each => writtenLog(each)),
            budget,
          )
          expect(read).toEqual(all.map(each => each.map((_, offset) => offset)))
          const largest = Math.max(0, ...all.flat()) + 20
          for (const bytes of held) expect(bytes).toBeLessThanOrEqual(budget + largest)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('is shared in turns: no partition waits for the end of another one’s backlog', () => {
    const logs = [0, 1, 2].map(() => writtenLog(Array.from({ length: 30 }, () => 1_000)))
    const { turnsOf } = readAll(logs, 1)
    for (const turns of turnsOf) {
      const waits = turns.map((turn, i) => turn - (turns[i - 1] ?? -1))
      expect(Math.max(...waits)).toBeLessThanOrEqual(logs.length)
    }
  })

  it('does not count uncompressed batches, which are the answer itself', () => {
    const { held } = readAll([writtenLog([3_000, 3_000, 3_000], false)], 1)
    expect(held.length).toBe(1)
  })

  it('has a limit for each batch, which is reported', () => {
    const message = 'expands it to more than 256 MiB, which is not read'
    // gzip allows several streams one after the other.
    const mebibyte = gzipSync(Buffer.alloc(MiB))
    const hostile = Buffer.concat(Array.from({ length: 257 }, () => mebibyte))
    expect(() => decompress(GZIP, hostile)).toThrow(`gzip ${message}`)
    const promising = Buffer.alloc(14 * MiB)
    snappy(Buffer.alloc(1)).copy(promising)
    // 300 MiB as a varint.
    promising.set([0x80, 0x80, 0x80, 0x96, 0x01])
    expect(() => decompress(2, promising)).toThrow(`snappy ${message}`)
    const lz4 = () => new Uint8Array(LARGEST_BATCH + 1) as Buffer
    expect(() => decompress(3, Buffer.alloc(1), { lz4 })).toThrow(`lz4 ${message}`)
  })
})
