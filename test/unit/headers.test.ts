import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { fakeRecord } from '../marbles/fake-record.js'

it('header() returns the last value of a name, even null, and undefined if there is none', () => {
  const name = fc.constantFrom('a', 'b', '__proto__', 'constructor', 'mika_err_billing_msg')
  const value = fc.option(fc.string().map(text => Buffer.from(text)))
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 8 }), headers => {
      const record = fakeRecord({ headers })
      for (const name of ['a', 'b', '__proto__', 'constructor', 'toString']) {
        expect(record.header(name)).toBe(headers.findLast(([one]) => one === name)?.[1])
        expect(record.map(() => 1).header(name)).toBe(record.header(name))
      }
      // This library's own headers are not among the record's headers.
      expect(record.header('mika_err_billing_msg')).toBeUndefined()
    }),
  )
})
