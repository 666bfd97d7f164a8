import { describe, expect, it } from 'vitest'
import { entryPoints, exportsOf, type PublicMember } from './public-types.js'

const files = [...entryPoints().values()]
const exported = exportsOf(files)
const members = exported.flatMap(({ members }) => members)

const undocumented = (all: readonly { readonly name: string; readonly documented: boolean }[]) =>
  all.filter(({ documented }) => !documented).map(({ name }) => name)
/** Options that are rejected if they are present and undefined, by a compiler with `exactOptionalPropertyTypes`. */
const exact = (all: readonly PublicMember[]) =>
  all.filter(({ optional, type }) => optional && !/\| undefined$|^unknown$/.test(type)).map(({ name }) => name)

describe('every entry point', () => {
  it('exports nothing without a doc comment', () => {
    expect([...entryPoints().keys()]).toContain('rxmika/testing')
    expect(exported.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['createClient', 'memoryBroker', 'inspect']),
    )
    expect(undocumented(exported)).toEqual([])
  })

  it('exports no type with a member or an alternative without a doc comment', () => {
    const names = members.map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['Client.topic', 'PublishError.retriable', 'MemoryBroker.lose']))
    expect(names.filter(name => name.startsWith('ClientEvent, alternative')).length).toBeGreaterThan(20)
    expect(undocumented(members)).toEqual([])
  })

  it('accepts undefined for every option, even with exactOptionalPropertyTypes', () => {
    const others = ['PublishRecord', 'TopicConfig', 'CommitsOf', 'OfClient', 'RecordedWindow', 'ScenarioChoices']
    const taken = [...others, 'SimulatedTopic', 'SimulatedFaults']
    const options = exported.filter(({ name }) => name.endsWith('Options') || taken.includes(name))
    expect(options.map(({ name }) => name)).toEqual(
      expect.arrayContaining([...taken, 'ClientOptions', 'InspectOptions']),
    )
    expect(exact(options.flatMap(({ members }) => members))).toEqual([])

    const inline = exported.flatMap(({ inline }) => inline)
    expect(inline.map(({ name }) => name)).toContain('Simulation.work(options).delay')
    expect(exact(inline)).toEqual([])
  })
})

it('detects missing doc comments', () => {
  const source = `
    /** Documented. */
    export interface Sound {
      /** So is this. */
      readonly a?: string | undefined
    }
    export interface Bare { readonly b?: string }
    /** A class. */
    export class Half {
      #hidden = 1
      private secret = 2
      /** Said. */
      c(options: { readonly one?: number; readonly two?: number | undefined }): void {}
      d(): void {}
      static e(): void {}
    }
    /** A union. */
    export type Union =
      /** One. */
      | { readonly type: 'one' }
      | ({ readonly type: 'two' } & Sound)
      | 'three'
    // Not a doc comment.
    export const value = 1
  `
  const found = exportsOf(['/virtual.ts'], new Map([['/virtual.ts', source]]))
  const all = found.flatMap(({ members }) => members)
  expect(undocumented(found)).toEqual(['Bare', 'value'])
  expect(undocumented(all)).toEqual(['Bare.b', 'Half.d', 'Half.e', 'Union, alternative 2'])
  expect(exact(all)).toEqual(['Bare.b'])
  expect(exact(found.flatMap(({ inline }) => inline))).toEqual(['Half.c(options).one'])
})
