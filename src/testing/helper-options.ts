import { checkOptions, type KnownOptions } from '../options.js'
import type { MarbleHelpers } from './marble-helpers.js'

type Helpers = Omit<MarbleHelpers, 'broker' | 'createClient' | 'expectObservable'>
type Last<Arguments> = Arguments extends [...unknown[], infer Of] ? NonNullable<Of> : never
type OptionsOf<Name extends keyof Helpers> = Last<Required<Parameters<Helpers[Name]>>>

/** For each helper with options, which are its last argument: the index of the argument, and the known options. */
type Known<Name extends keyof Helpers> = {
  readonly [name in Name]: readonly [at: number, KnownOptions<OptionsOf<name>>]
}

const known: Known<
  | 'play'
  | 'start'
  | 'close'
  | 'closeGracefully'
  | 'revoke'
  | 'lose'
  | 'kill'
  | 'freeze'
  | 'setClock'
  | 'expectDeliveries'
  | 'expectCommits'
  | 'expectErrors'
  | 'expectEvents'
  | 'expectState'
> = {
  play: [1, { delays: true, failures: true, picks: true, check: true }],
  start: [1, { client: true }],
  close: [1, { client: true }],
  closeGracefully: [1, { client: true, timeout: true }],
  revoke: [2, { group: true }],
  lose: [2, { group: true }],
  kill: [1, { client: true, after: true }],
  freeze: [1, { client: true, after: true }],
  setClock: [2, { client: true }],
  expectDeliveries: [1, { client: true }],
  expectCommits: [1, { group: true, positions: true }],
  expectErrors: [1, { client: true }],
  expectEvents: [1, { client: true, topic: true }],
  expectState: [0, { client: true }],
}

/** The same helpers; they throw a `ConfigurationError` if they are called with an unknown option. */
export function checkingOptions(helpers: MarbleHelpers): MarbleHelpers {
  const checking = { ...helpers } as Record<string, unknown>
  for (const [name, [at, options]] of Object.entries(known)) {
    const helper = checking[name] as (...args: unknown[]) => unknown
    checking[name] = (...args: unknown[]) => {
      if (args[at] !== undefined) checkOptions(name, args[at], options as KnownOptions<unknown>)
      return helper(...args)
    }
  }
  return checking as unknown as MarbleHelpers
}
