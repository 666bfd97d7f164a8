import type { Observable } from 'rxjs'
import {
  breaker,
  type Client,
  type ConsumeRecord,
  createClient,
  deadLetter,
  decode,
  exponential,
  handle,
  redeliver,
  retryTopic,
} from 'rxmika'
import { memoryBroker, runMarbles, simulate } from 'rxmika/testing'
import { it } from 'vitest'
import type { KnownOptions } from '../../src/options.js'

type Login =
  | { readonly mechanism: 'plain'; readonly username: string }
  | { readonly mechanism: 'aws'; readonly id: string }

it('an option does not compile if only the interface or only the list of known options has it', () => {
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

it('a topic is a name, several names or a pattern, and the stream has the type of its decoder in each case', () => {
  const client: Client = undefined as never
  return () => {
    for (const what of ['orders', ['a', 'b'] as const, /^orders-/]) {
      client.topic(what, { retries: 1 })
      client.pause(what)
      client.resume(what)
    }
    const decoded: Observable<ConsumeRecord<number | null>> = client.topic(/^n-/, { decode: bytes => bytes.length })
    const always: Observable<ConsumeRecord<number>> = client.topic(['a'], {
      decode: bytes => bytes.length,
      tombstones: 'ack',
    })
    // @ts-expect-error no topic
    client.topic(7)
    // @ts-expect-error patterns in an array
    client.topic([/a/])
    // @ts-expect-error the decoder gives numbers
    const text: Observable<ConsumeRecord<string | null>> = client.topic(/a/, {
      decode: (bytes: Buffer) => bytes.length,
    })
    return [decoded, always, text]
  }
})

it('an unknown option does not compile', () => {
  const client: Client = undefined as never
  // Each line is only compiled; none is called.
  return () => [
    // @ts-expect-error groupId is group
    createClient({ groupId: 'billing' }),
    // @ts-expect-error user is username
    createClient({ sasl: { mechanism: 'plain', user: 'me', password: 'secret' } }),
    // @ts-expect-error of TLS
    createClient({ ssl: { rejectUnauthorised: false } }),
    // @ts-expect-error maxInflight is maxInFlight
    client.topic('orders', { maxInflight: 1 }),
    // @ts-expect-error beside a decoder, too
    client.topic('orders', { decode: String, retires: 1 }),
    // @ts-expect-error fence is keyFence
    client.topic('orders', { fence: { afterDeadLetter: 'continue' } }),
    // @ts-expect-error a topic is missing
    client.publish({ value: 'x' }),
    // @ts-expect-error kafkajs's messages
    client.publish({ topic: 'orders', messages: [] }),
    // @ts-expect-error timeoutMs is timeout
    client.publish({ topic: 'orders', value: 'x' }, { timeoutMs: 1 }),
    // @ts-expect-error timeoutMs is timeout
    client.closeGracefully({ timeoutMs: 1 }),
    // @ts-expect-error untill is until
    client.replayDlq({ untill: 'forever' }),
    // @ts-expect-error concurency is concurrency
    handle(() => {}, { concurency: 1 }),
    // @ts-expect-error there is no handler
    handle(),
    // @ts-expect-error a number is no options
    handle(() => {}, 5),
    // @ts-expect-error there is no decoder
    decode(),
    // @ts-expect-error maximum is max
    exponential({ initial: 1, maximum: 2 }),
    // @ts-expect-error tries is attempts
    redeliver(client, { tries: 1 }),
    // @ts-expect-error maxRetries is retries
    retryTopic(client, { maxRetries: 1 }),
    // @ts-expect-error window is within
    breaker(client, { failures: 1, window: 1 }),
    // @ts-expect-error the client is missing
    deadLetter({ topic: 'dead' }),
    // @ts-expect-error partition is partitions
    memoryBroker({ partition: 1 }),
    // @ts-expect-error tial is tail
    runMarbles(() => {}, { tial: 1 }),
    // @ts-expect-error sed is seed
    simulate({ scenario: () => {}, sed: 1 }),
  ]
})
