import { it } from 'vitest'
import type { KnownOptions } from '../../src/options.js'

type Login =
  | { readonly mechanism: 'plain'; readonly username: string }
  | { readonly mechanism: 'aws'; readonly id: string }

it('an option that an interface has and the list of known options has not does not compile, nor the other way round', () => {
  const all: KnownOptions<{ one?: 1; two: 2 }> = { one: true, two: true }
  // @ts-expect-error two is missing
  const missing: KnownOptions<{ one?: 1; two: 2 }> = { one: true }
  // @ts-expect-error there is no three
  const more: KnownOptions<{ one?: 1; two: 2 }> = { one: true, two: true, three: true }
  const union: KnownOptions<Login> = { mechanism: true, username: true, id: true }
  // @ts-expect-error id is missing
  const part: KnownOptions<Login> = { mechanism: true, username: true }
  return [all, missing, more, union, part]
})
