import * as rxjs from 'rxjs'
import { filter, firstValueFrom } from 'rxjs'
import * as rxmika from 'rxmika'
import * as testing from 'rxmika/testing'
import { describe, expect, it, vi } from 'vitest'
import { codeBlocks, runBlock, typeErrors } from './code-blocks'

const readme = codeBlocks('README.md')
const block = (beginning: string) => readme.find(code => code.includes(beginning))!

describe('the code in the texts', () => {
  it('compiles', { timeout: 30_000 }, () => {
    const texts = [
      'README.md',
      'docs/architecture.md',
      'docs/guarantees.md',
      'docs/failure-routes.md',
      'docs/skipping-records.md',
      'docs/database-sinks.md',
      'docs/decisions.md',
    ]
    expect(typeErrors(Object.fromEntries(texts.map(text => [text, codeBlocks(text)])))).toEqual([])
  })

  it('is checked in earnest', { timeout: 30_000 }, () => {
    expect(typeErrors({ 'wrong.md': ["import { fixed } from 'rxmika'\nfixed('soon')\n", 'nobody()\n'] })).toEqual([
      expect.stringMatching(/wrong\.md 1\.ts:2 .*string/),
      expect.stringMatching(/wrong\.md 2\.ts:1 .*nobody/),
    ])
  })

  it('is a first program that runs, retries, and closes gracefully', async () => {
    const broker = testing.memoryBroker()
    const charge = vi.fn().mockRejectedValueOnce(new Error('declined')).mockResolvedValue(undefined)
    let client!: rxmika.Client
    const createClient: typeof rxmika.createClient = options => {
      client = rxmika.createClient({ ...options, driver: broker.driver(), logger: false })
      return client
    }
    const signals = new Map<string, () => Promise<rxmika.CloseReport>>()
    const process = { once: (signal: string, close: () => Promise<rxmika.CloseReport>) => signals.set(signal, close) }

    runBlock(block('SIGTERM'), { rxmika: { ...rxmika, createClient } }, { charge, process, console })
    broker.publish('orders', [
      { key: 'a', value: '{"amount":1}' },
      { key: 'b', value: '{"amount":2}' },
    ])
    await firstValueFrom(client.events.pipe(filter(() => broker.committed('billing', 'billing-retry', 0) === 1n)))
    expect(charge.mock.calls).toEqual([[{ amount: 1 }], [{ amount: 2 }], [{ amount: 1 }]])
    expect(await signals.get('SIGTERM')!()).toEqual({ drained: true, unsettled: 0, left: [] })
    expect(broker.committed('billing', 'orders', 0)).toBe(2n)
  })

  it.each(['runMarbles', 'memoryBroker'])('is a test that passes: %s', async beginning => {
    const tests: (() => Promise<void>)[] = []
    const vitest = { expect, it: (_: string, test: () => Promise<void>) => tests.push(test) }
    runBlock(block(beginning), { rxjs, rxmika, 'rxmika/testing': testing, vitest })
    expect(tests).toHaveLength(1)
    await tests[0]!()
  })
})
