import { readdirSync, readFileSync } from 'node:fs'
import * as rxmika from 'rxmika'
import { describe, expect, it } from 'vitest'

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
const reference = read('docs/reference.md')

/** Every code of an error in the sources. */
const codes = [
  ...new Set(
    readdirSync(new URL('../../src', import.meta.url), { recursive: true, encoding: 'utf8' })
      .filter(file => file.endsWith('.ts'))
      .flatMap(file => [...read(`src/${file}`).matchAll(/'(RXMIKA_\w+)'/g)].map(([, code]) => code!)),
  ),
].sort()

/** The names in code quotes in the first cells of a section's table, without arguments. */
function named(heading: string): string[] {
  const section = reference.slice(reference.indexOf(`\n## ${heading}\n`) + 1)
  const rows = section
    .slice(0, section.indexOf('\n## '))
    .split('\n')
    .filter(line => line.startsWith('| `'))
  return rows.flatMap(row => [...row.split('|')[1]!.matchAll(/`([^`(]+)[^`]*`/g)].map(([, name]) => name!))
}

/** The members that an interface of a source file declares itself, not those that it inherits. */
function membersOf(file: string, name: string): string[] {
  const [, body] = new RegExp(`interface ${name}\\b[^{]*\\{\\n(.*?)\\n\\}`, 's').exec(read(file))!
  return [
    ...new Set([...body!.matchAll(/^ {2}(?:readonly )?(\w+|\[Symbol\.\w+\])[?(:<]/gm)].map(([, member]) => member!)),
  ]
}

describe('docs/reference.md names', () => {
  it('every option of createClient', () => {
    const options = membersOf('src/client/client.ts', 'ClientOptions')
    expect(options).toContain('brokers')
    expect(named('createClient').sort()).toEqual(options.sort())
  })

  it('every member of the client', () => {
    const members = membersOf('src/client/client.ts', 'Client')
    expect(members).toContain('closeGracefully')
    expect(named('The client').sort()).toEqual([...members, '[Symbol.asyncDispose]'].sort())
  })

  it('every option of a topic', () => {
    const options = [...membersOf('src/client/client.ts', 'TopicOptions'), 'decode', 'tombstones']
    expect(options).toContain('retries')
    expect(named('Topics').sort()).toEqual(options.sort())
  })

  it('every option of handle and each of this library’s operators', () => {
    const options = membersOf('src/operators/handle/handle.ts', 'HandleOptions')
    expect(options).toContain('order')
    expect(named('Operators')).toEqual(expect.arrayContaining(options))
    for (const operator of ['handle', 'keep', 'latest', 'fork', 'decode', 'json']) {
      expect(rxmika).toHaveProperty(operator)
      expect(reference).toContain(`\`${operator}`)
    }
  })

  it('every error with its code, and no others', () => {
    const classes = Object.entries(rxmika).filter(([, value]) => isErrorClass(value))
    expect(classes.map(([name]) => name)).toContain('PublishError')
    const told = named('Errors').filter(name => /^[A-Z][a-z]/.test(name))
    expect(told.sort()).toEqual(classes.map(([name]) => name).sort())
    for (const code of codes) expect(reference).toContain(`\`${code}\``)
  })

  it('exactly the codes that isRxMikaError accepts', () => {
    expect(membersOf('src/errors.ts', 'RxMikaErrors').sort()).toEqual(codes)
    expect(codes).toEqual(expect.arrayContaining(['RXMIKA_PUBLISH', 'RXMIKA_BATCH_FAILURE', 'RXMIKA_REPLAY_RUNNING']))
    expect([...new Set([...reference.matchAll(/`(RXMIKA_\w+)`/g)].map(([, code]) => code!))].sort()).toEqual(codes)
  })
})

function isErrorClass(value: unknown): boolean {
  return typeof value === 'function' && (value === rxmika.RxMikaError || value.prototype instanceof rxmika.RxMikaError)
}
