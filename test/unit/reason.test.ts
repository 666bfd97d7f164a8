import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { messageOf, nameOf, stackOf } from '../../src/retry/reason'

const described = (reason: unknown) => [nameOf(reason), messageOf(reason)]

describe('what a record failed with is described', () => {
  it('as not given where fail() had none', () => {
    expect(described(undefined)).toEqual(['NoReasonGiven', 'no reason given'])
  })

  it.each<[string, unknown, string, string]>([
    ['an error', new RangeError('too far'), 'RangeError', 'too far'],
    ['an error without a message', new RangeError(), 'RangeError', 'RangeError'],
    ['an error without a name', Object.assign(new Error('no'), { name: '' }), 'Error', 'no'],
    ['an error of another realm', runInNewContext("new RangeError('too far')"), 'RangeError', 'too far'],
    ['a text', 'too far', 'string', 'too far'],
    ['null', null, 'null', 'null'],
    ['a number', 7, 'number', '7'],
    ['an object', { status: 503 }, 'object', '{ status: 503 }'],
  ])('by name and message: %s', (_, reason, name, message) => {
    expect(described(reason)).toEqual([name, message])
  })

  it('with the stack of an error, of whatever realm, and of nothing else', () => {
    expect(stackOf(runInNewContext("new RangeError('too far')"))).toContain('RangeError: too far')
    for (const reason of [undefined, null, 'text', { stack: 'no' }]) expect(stackOf(reason)).toBeUndefined()
  })
})
