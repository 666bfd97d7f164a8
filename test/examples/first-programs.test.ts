import { randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { codeBlocks } from '../docs/code-blocks'
import { Example } from '../docs/run-example'
import { createTopic } from '../kafka/create-topic'
import { kafkaBrokers } from '../kafka/describe-kafka'

/** Runs the programs of README and get-started with plain Node and the packed package. Only their broker's address is replaced. */
describe('the first programs', () => {
  const folder = join(inject('examples'), 'first-programs')
  const program = (text: string, part: string) => {
    const code = codeBlocks(text).find(block => block.includes(part))!
    expect(code).toContain('localhost:9092')
    return code.replaceAll("'localhost:9092'", kafkaBrokers.map(broker => `'${broker}'`).join(', '))
  }
  beforeAll(async () => {
    await mkdir(join(folder, 'src'), { recursive: true })
    await writeFile(join(folder, 'src/readme.mjs'), program('README.md', 'SIGTERM'))
    await writeFile(join(folder, 'src/billing.mjs'), program('docs/get-started.md', 'SIGTERM'))
    await writeFile(join(folder, 'src/publish.mjs'), program('docs/get-started.md', 'client.publish'))
  })
  const suffix = `-${randomUUID().slice(0, 8)}`
  const run = (name: string) => new Example(`${name}.mjs`, { KAFKA_GLOBAL_SUFFIX: suffix }, folder)

  it('charge, retry, dead-letter and end by SIGTERM', async () => {
    // Both programs use the same group, as they do for a reader who tries both.
    const topics = ['orders', 'billing-retry', 'billing-dlq'].map(name => ({ topic: name + suffix, numPartitions: 1 }))
    await Promise.all(topics.map(topic => createTopic({ brokers: kafkaBrokers }, topic)))

    const billing = run('billing')
    billing.expected = /order 2/
    const publish = run('publish')
    expect(await publish.exitCode(), publish.output).toBe(0)
    expect(publish.output).toBe('orders-0@0\norders-0@1\n')
    await billing.printed(/^gave up/)
    const printed = billing.lines.filter(line => line !== '' && !line.startsWith('{'))
    const shown = codeBlocks('docs/get-started.md', '').find(block => block.startsWith('charged'))!
    expect(printed).toEqual(shown.trim().split('\n'))
    billing.kill('SIGTERM')
    expect(await billing.exitCode(), billing.output).toBe(0)

    const readme = run('readme')
    expect(await run('publish').exitCode()).toBe(0)
    await readme.printed(/^charged order 1: 1000 cents \(attempt 1\)/)
    readme.kill('SIGTERM')
    expect(await readme.exitCode(), readme.output).toBe(0)
  }, 120_000)
})
