import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DlqLedger, type LedgerNote, ledgerNoteOf, ledgerRecord } from '../../src/retry/dlq-ledger'

const range = fc.tuple(fc.nat(60), fc.nat(5)).map(([first, more]): readonly [number, number] => [first, first + more])
const note = fc.record<LedgerNote>({
  group: fc.constantFrom('billing', 'billing_2', '__proto__'),
  done: fc.constantFrom('redriven', 'discarded'),
  partition: fc.nat(2),
  ranges: fc.array(range, { maxLength: 5 }),
  by: fc.string(),
  at: fc.nat(),
})

const asRecord = (written: LedgerNote) => {
  const { headers, value } = ledgerRecord(written, 'id')
  return { headerPairs: headers, value }
}

describe('a ledger of dead letters', () => {
  it('contains exactly the dead letters of its group that notes name, in any order of the notes', () => {
    fc.assert(
      fc.property(fc.array(note, { maxLength: 12 }), notes => {
        const ledger = new DlqLedger('billing')
        for (const each of notes) ledger.add(ledgerNoteOf(asRecord(each))!)
        for (let partition = 0; partition < 3; partition++) {
          for (let offset = 0; offset < 70; offset++) {
            const isNamed = notes.some(
              each =>
                each.group === 'billing' &&
                each.partition === partition &&
                each.ranges.some(([first, last]) => first <= offset && offset <= last),
            )
            expect(ledger.has(partition, offset)).toBe(isNamed)
          }
        }
      }),
    )
  })

  it('does not take other records of the topic for notes, and never throws', () => {
    const header = fc.constantFrom('rxmika_dlq_ledger', 'mika_err_billing_org_topic', 'x')
    const bytes = fc.uint8Array({ maxLength: 40 }).map(each => Buffer.from(each))
    const document = fc.jsonValue().map(value => Buffer.from(JSON.stringify(value)))
    // Values that are nearly right for one field or another.
    const off = fc.constantFrom(
      -1,
      1.5,
      2,
      '0',
      'later',
      'redriven ',
      [3],
      [[2, 1]],
      [[0]],
      [[0, 1, 2]],
      [[0, '1']],
      [[-1, 1]],
    )
    const nearly = fc
      .tuple(
        note,
        fc.constantFrom('version', 'group', 'done', 'partition', 'ranges', 'by', 'at'),
        fc.oneof(off, fc.jsonValue()),
      )
      .map(([written, field, value]) => {
        const text = JSON.parse(String(ledgerRecord(written, 'id').value))
        return Buffer.from(JSON.stringify({ ...text, [field]: value }))
      })
    fc.assert(
      fc.property(
        fc.oneof(
          fc.constant([['rxmika_dlq_ledger', Buffer.from('billing')] as [string, Buffer]]),
          fc.array(fc.tuple(header, fc.option(bytes)), { maxLength: 3 }),
        ),
        fc.option(fc.oneof(bytes, document, nearly)),
        (headerPairs, value) => {
          const found = ledgerNoteOf({ headerPairs, value })
          if (found === undefined) return
          expect(headerPairs.map(([name]) => name)).toEqual(['rxmika_dlq_ledger'])
          new DlqLedger(found.group).add(found)
          expect(JSON.parse(String(value)).version).toBe(1)
          const isOffset = (one: unknown) => Number.isSafeInteger(one) && (one as number) >= 0
          expect([typeof found.group, typeof found.by]).toEqual(['string', 'string'])
          expect(['redriven', 'discarded']).toContain(found.done)
          expect([isOffset(found.partition), Number.isFinite(found.at)]).toEqual([true, true])
          for (const each of found.ranges) {
            expect(each).toHaveLength(2)
            expect(each.every(isOffset) && each[0] <= each[1]).toBe(true)
          }
        },
      ),
      { numRuns: 500 },
    )
  })
})
