import fc from 'fast-check'
import { ConfigurationError } from 'rxmika'
import { describe, expect, it } from 'vitest'
import { nearestName } from '../../src/nearest-name.js'
import { checkDuration, checkInteger, checkLimit, checkOptions, invalid, type KnownOptions } from '../../src/options.js'

interface Options {
  readonly group?: string
  readonly max?: number
  readonly maxInFlight?: number
  readonly startFrom?: string
  readonly concurrency?: number
  readonly timeout?: number
  readonly sasl?: object
}
const known: KnownOptions<Options> = {
  group: true,
  max: true,
  maxInFlight: true,
  startFrom: true,
  concurrency: true,
  timeout: true,
  sasl: true,
}
const names = Object.keys(known)

function refusal(options: unknown): string | undefined {
  try {
    checkOptions('here', options as Options, known)
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError)
    return (error as Error).message
  }
}

describe('an unknown option is refused with the most similar one', () => {
  it.each([
    ['groupId', 'group'],
    ['group.id', 'group'],
    ['gruop', 'group'],
    ['consumerGroup', 'group'],
    ['maximum', 'max'],
    ['maxInflight', 'maxInFlight'],
    ['max_in_flight', 'maxInFlight'],
    ['fromBeginning', 'startFrom'],
    ['auto.offset.reset', 'startFrom'],
    ['concurency', 'concurrency'],
    ['partitionsConsumedConcurrently', 'concurrency'],
    ['timeoutMs', 'timeout'],
    ['timeOut', 'timeout'],
    ['timeot', 'timeout'],
    ['SASL', 'sasl'],
  ])('%s: %s', (wrong, right) => {
    expect(refusal({ [wrong]: 1 })).toBe(`here: unknown option '${wrong}'; did you mean '${right}'?`)
  })

  it('an unknown option is refused with all options if none is similar', () => {
    expect(refusal({ colour: 'red' })).toBe(`here: unknown option 'colour'; the options are ${names.join(', ')}`)
  })

  it('any single typing error in a name of four letters or more is recognised', () => {
    const long = names.filter(name => name.length >= 4)
    const slip = fc.record({
      name: fc.constantFrom(...long),
      at: fc.nat(),
      how: fc.constantFrom('drop', 'twice', 'swap'),
    })
    fc.assert(
      fc.property(slip, ({ name, at: any, how }) => {
        const at = any % (name.length - 1)
        const [one, two] = [name[at]!, name[at + 1]!]
        const wrong =
          name.slice(0, at) + { drop: two, twice: one + one + two, swap: two + one }[how] + name.slice(at + 2)
        if (names.includes(wrong)) return
        expect(refusal({ [wrong]: 1 })).toBe(`here: unknown option '${wrong}'; did you mean '${name}'?`)
      }),
    )
  })
})

it('no other names are options, not even those of every object', () => {
  const inherited = ['constructor', 'toString', '__proto__', 'hasOwnProperty', 'valueOf']
  fc.assert(
    fc.property(fc.oneof(fc.constantFrom(...inherited), fc.string()), name => {
      fc.pre(!names.includes(name))
      const options = JSON.parse(`{${JSON.stringify(name)}: 1}`)
      expect(refusal(options)).toContain('unknown option')
    }),
  )
  for (const name of inherited) expect(nearestName(name, ['factor'])).toBeUndefined()
})

it('undefined values, inherited properties and symbols are ignored; own properties of class instances are checked', () => {
  class Settings {
    group = 'billing'
    static with(more: object) {
      return Object.assign(new Settings(), more)
    }
    get gruop() {
      return this.group
    }
  }
  expect(refusal({ group: undefined, groupId: undefined, [Symbol('x')]: 1 })).toBeUndefined()
  expect(refusal(Object.create({ gruop: 'billing' }))).toBeUndefined()
  expect(refusal(Object.assign(Object.create(null), { group: 'billing' }))).toBeUndefined()
  expect(refusal(new Settings())).toBeUndefined()
  expect(refusal(Settings.with({ groupId: 1 }))).toContain("did you mean 'group'?")
})

it('options that are not an object are refused', () => {
  for (const [options, got] of [
    [null, 'null'],
    [undefined, 'undefined'],
    [7, 'a number'],
    ['text', 'a string'],
    [[], 'an empty array'],
    [() => {}, 'a function'],
  ]) {
    expect(refusal(options)).toBe(`here: options must be an object (got ${got})`)
  }
})

it('the value of an unknown option is not printed, because it may be a password', () => {
  expect(refusal({ pasword: 'hunter2' })).not.toContain('hunter2')
})

describe('a wrong value is printed with the rule', () => {
  const told = (check: () => void) => {
    try {
      check()
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }

  it('in the same words everywhere', () => {
    expect(told(() => checkInteger('f: n', 0, 1))).toBe('f: n must be an integer ≥ 1 (got 0)')
    expect(told(() => checkInteger('f: n', 8, 1, 7))).toBe('f: n must be an integer from 1 to 7 (got 8)')
    expect(told(() => checkLimit('f: n', Number.NaN))).toBe('f: n must be an integer ≥ 1 or Infinity (got NaN)')
    expect(told(() => checkDuration('f: ms', '5'))).toBe("f: ms must be a number of ms from 0 to 2147483647 (got '5')")
    expect(told(() => checkLimit('f: n', Number.POSITIVE_INFINITY))).toBeUndefined()
    expect(told(() => checkDuration('f: ms', 2 ** 31 - 1))).toBeUndefined()
  })

  it('whatever it is: objects by their type, long texts shortened, control characters escaped', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true }), value => {
        expect(invalid('x', value, 'must be').message).toMatch(/^x must be \(got [^\n]*\)$/)
      }),
    )
    expect(invalid('x', 'a\n\u0000b', 'must be').message).toBe("x must be (got 'a\\n\\u0000b')")
    expect(invalid('x', 'y'.repeat(999), 'must be').message.length).toBeLessThan(400)
    const hostile = { [Symbol.toPrimitive]: () => ({}) }
    expect(invalid('x', hostile, 'must be').message).toBe('x must be (got an object)')
    expect(invalid('x', Object.create(Date.prototype), 'must be').message).toBe('x must be (got an object)')
  })
})
