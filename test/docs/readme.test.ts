import { readdirSync } from 'node:fs'
import * as rxjs from 'rxjs'
import { filter, firstValueFrom } from 'rxjs'
import * as rxmika from 'rxmika'
import * as testing from 'rxmika/testing'
import { describe, expect, it, vi } from 'vitest'
import { codeBlocks, runBlock, typeErrors } from './code-blocks'

const readme = codeBlocks('README.md')
const block = (beginning: string) => readme.find(code => code.includes(beginning))!

describe('the code in the documentation', () => {
  it('compiles', { timeout: 30_000 }, () => {
    const docs = readdirSync(new URL('../../docs', import.meta.url)).filter(name => name.endsWith('.md'))
    const texts = ['README.md', 'CONTRIBUTING.md', ...docs.map(name => `docs/${name}`)]
    expect(typeErrors(Object.fromEntries(texts.map(text => [text, codeBlocks(text)])))).toEqual([])
  })

  it('fails to compile if it has an error', { timeout: 30_000 }, () => {
    expect(typeErrors({ 'wrong.md': ["import { fixed } from 'rxmika'\nfixed('soon')\n", 'nobody()\n'] })).toEqual([
      expect.stringMatching(/wrong\.md 1\.ts:2 .*string/),
      expect.stringMatching(/wrong\.md 2\.ts:1 .*nobody/),
    ])
  })

  it('is a first program that runs, retries, and closes gracefully', async () => {
    const broker = testing.memoryBroker()
    let client!: rxmika.Client
    const createClient: typeof rxmika.createClient = options => {
      client = rxmika.createClient({ ...options, driver: broker.driver(), logger: false })
      return client
    }
    const signals = new Map<string, () => Promise<rxmika.CloseReport>>()
    const process = { once: (signal: string, close: () => Promise<rxmika.CloseReport>) => signals.set(signal, close) }
    const log = vi.fn()

    runBlock(block('SIGTERM'), { rxmika: { ...rxmika, createClient } }, { process, console: { ...console, log } })
    broker.publish('orders', [
      { key: 'ada', value: '{"id":"1","cents":1000}' },
      { key: 'bob', value: '{"id":"2","cents":-5}' },
    ])
    await firstValueFrom(client.events.pipe(filter(() => broker.committed('billing', 'billing-retry', 0) === 2n)))
    expect(log.mock.calls).toEqual([['charged order 1: 1000 cents (attempt 1)']])
    expect(broker.records('billing-dlq')).toMatchObject([{ key: Buffer.from('bob') }])
    expect(await signals.get('SIGTERM')!()).toEqual({ drained: true, unsettled: 0, left: [] })
    expect(broker.committed('billing', 'orders', 0)).toBe(2n)
  })

  it('is a marble test that passes', async () => {
    const tests: (() => Promise<void>)[] = []
    const vitest = { expect, it: (_: string, test: () => Promise<void>) => tests.push(test) }
    runBlock(block('runMarbles'), { rxjs, rxmika, 'rxmika/testing': testing, vitest })
    expect(tests).toHaveLength(1)
    await tests[0]!()
  })
})
