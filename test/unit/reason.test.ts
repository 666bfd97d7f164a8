import { runInNewContext } from 'node:vm'
import { map, of } from 'rxjs'
import type { HeaderPair } from 'rxmika'
import { describe, expect, it } from 'vitest'
import { deadLetter } from '../../src/retry/dead-letter'
import { messageOf, nameOf, stackOf } from '../../src/retry/reason'
import { failure, inWords, StubClient } from '../marbles/stub-routing'
import { anyReasons } from '../properties/any-reason'

const described = (reason: unknown) => [nameOf(reason), messageOf(reason)]

describe('a record that failed with an indescribable reason', () => {
  it.each(anyReasons.map((reason, at) => [at, reason] as const))('is dead-lettered nevertheless: %i', (_, reason) => {
    const client = new StubClient()
    const outcomes: string[] = []
    of(failure('a', { reason: reason() }))
      .pipe(deadLetter(client), map(inWords))
      .subscribe(outcome => outcomes.push(outcome))
    expect(outcomes).toEqual(['a dead-lettered'])
    const own = client.copies[0]!.headers as readonly HeaderPair[]
    for (const [name, value] of own) expect([name, value!.length <= 4_096]).toEqual([name, true])
  })
})

describe('the reason of a failure is described', () => {
  it('as not given if fail() had none', () => {
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

  it('with the stack of an error of any realm, and of nothing else', () => {
    expect(stackOf(runInNewContext("new RangeError('too far')"))).toContain('RangeError: too far')
    for (const reason of [undefined, null, 'text', { stack: 'no' }]) expect(stackOf(reason)).toBeUndefined()
  })
})
