import { of, throwError } from 'rxjs'
import { fixed, handle } from 'rxmika'
import { type MarbleHelpers, runMarbles, type VirtualHelpers } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'

type Test = (helpers: MarbleHelpers & VirtualHelpers) => void

/** The error of a failed run. */
function failureOf(test: Test): Error {
  try {
    runMarbles(test)
  } catch (error) {
    return error as Error
  }
  throw new Error('it passed')
}

const messageOf = (test: Test) => `\n${failureOf(test).message}\n`

describe('the message of a failing marble test', () => {
  it('draws inputs, expected and actual outputs below each other, and marks the difference', () => {
    const message = messageOf(({ createClient, records, ack, expectCommits, expectDeliveries }) => {
      createClient().topic('orders').subscribe()
      records('orders', '             a-b---------')
      ack('                           -----b---a--')
      expectDeliveries('orders').toBe('a-b---------') // as expected, and not shown
      expectCommits('orders').toBe('  -----1---2--')
    })
    expect(message).toBe(`
commits of orders, frame 5: expected 1, and nothing came

  records of orders            a-b-------
  ack                          -----b---a

  commits of orders  expected  -----1---2
                     actual    ---------2
                                    ^

  a  orders-0@0
  b  orders-0@1
`)
  })

  it('keeps the columns aligned with groups and long times, and lists further differences', () => {
    const message = messageOf(({ createClient, records, failNext, expectDeliveries, expectRetries, expectState }) => {
      createClient({ dlqTopic: undefined })
        .topic('orders', { retries: 1, backoff: fixed(1_000) })
        .pipe(
          handle(({ attempt }) => {
            if (attempt === 1) throw new Error('declined')
          }),
        )
        .subscribe()
      records('orders', ['a-(bc)', '--d'], { a: { key: 'customer 1', value: '{"amount":1}' } })
      failNext('produce', 'x')
      expectDeliveries('orders').toBe(['a 999ms a', 'd'])
      expectRetries().toBe('a-b')
      expectState().toBe('isr')
    })
    expect(message).toBe(`
deliveries of orders-0, frame 2: expected nothing, and bc came
deliveries of orders-1, frame 0: expected d, and nothing came
retries, frame 0: expected a, and nothing came
state, frame 0: expected i, and isr came

  records of orders-0               a    -(bc)-
  records of orders-1               -    -d----
  produce fails                     x    ------
  errors                            x    ------

  deliveries of orders-0  expected  a    ------ 93ms - 899ms a-----
                          actual    a    -(bc)- 93ms - 899ms a-(bc)
                                          ^                    ^
  deliveries of orders-1  expected  d    ------
                          actual    -    -d---- 93ms - 899ms --d---
                                    ^     ^                    ^
  retries                 expected  a    -b----
                          actual    -    -(bcd) 93ms a
                                    ^     ^          ^
  state                   expected  i    sr----
                          actual    (isr)------
                                    ^    ^^

  a  orders-0@0, key 'customer 1', value '{"amount":1}'
  b  orders-0@1
  c  orders-0@2
  d  orders-1@0
  x  PublishError: publishing failed: x, as ordered at frame 0
  i  idle
  s  starting
  r  running
`)
  })

  it('draws Observables and subscriptions too, and shows their values', () => {
    const message = messageOf(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('-a-|')
      expectObservable(source, '--^').toBe('--a-|')
      expectObservable(of({ amount: 1 }, 'a', { amount: 2 })).toBe('(xay|)', { x: { amount: 1 }, y: 'y', a: 'a' })
      expectObservable(throwError(() => new Error('one'))).toBe('#', undefined, new Error('other'))
      expectSubscriptions(source.subscriptions).toBe(['--^--!', '-^!'])
    })
    expect(message).toBe(`
observable, frame 2: expected a, and nothing came
observable 2, frame 0: expected xay|, and xab| came
observable 3, frame 0: expected #, and ✗ came
subscription 2, frame 1: expected ^, and nothing came

  observable      expected  -     -a-|-
                  actual    -     --a-|
                                   ^^^^
  observable 2    expected  (xay|)-----
                  actual    (xab|)-----
                            ^
  observable 3    expected  #     -----
                  actual    ✗     -----
                            ^
  subscription 2  expected  -     ^!---
                  actual    -     -----
                                  ^^

  x  { amount: 1 }
  b  { amount: 2 }
  #  Error: other
  ✗  Error: one
`)
  })

  it('is a plain error that points at the expectation', () => {
    const failure = failureOf(({ records, expectPublished }) => {
      records('orders', 'a')
      expectPublished('orders').toBe('b')
    })
    expect(Object.getPrototypeOf(failure)).toBe(Error.prototype)
    const [headline, , , , , , place] = failure.stack!.split('\n')
    expect(headline).toBe('Error: published to orders, frame 0: expected b, and a came')
    expect(failure.stack).toMatch(/orders-0@0\n +at .*marble-pictures\.test\.ts:\d+:\d+/)
    expect(place).toBeDefined()
  })
})
