import fc from 'fast-check'
import { firstValueFrom, lastValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { TopicNames } from '../../src/client/topic-names.js'
import {
  createClient,
  FetchError,
  PublishError,
  RecordWithoutConsumerError,
  UnroutableFailureError,
} from '../../src/index.js'
import { memoryBroker } from '../../src/testing/index.js'

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
const cause = maybe(fc.constantFrom(new Error('the cause'), 'a cause'))
const topic = maybe(fc.constantFrom('orders-test', 'orders-test-test', 'orders', '-test'))

const fetchErrors = fc
  .record({ cause, topic, partition: maybe(fc.nat()), offset: maybe(fc.bigInt({ min: 0n, max: 2n ** 53n })) })
  .map(options => new FetchError('it cannot be read', options))
const publishErrors = fc
  .record({ cause, topic, retriable: fc.boolean(), reason: maybe(fc.constantFrom('MESSAGE_TOO_LARGE')) })
  .map(options => new PublishError('it is not written', options))

describe('an error of a client with a suffix', () => {
  it('has the topic as users name it, and every other field of the error of the driver', () => {
    const names = new TopicNames('-test')
    fc.assert(
      fc.property(fc.oneof(fetchErrors, publishErrors), error => {
        const shown = names.inError(error) as typeof error
        expect(shown.topic).toBe(error.topic && names.user(error.topic))
        const { name, message, cause } = error
        expect(shown).toMatchObject({ ...error, topic: shown.topic, name, message })
        expect(Object.keys(shown).sort()).toEqual(Object.keys(error).sort())
        expect(shown.cause).toBe(cause)
      }),
    )
  })

  it('says why a record was refused', async () => {
    const broker = memoryBroker()
    const refusal = { retriable: false, reason: 'MESSAGE_TOO_LARGE', topic: 'orders-test' }
    broker.failNext('produce', new PublishError('it is too large', refusal))
    const client = createClient({ driver: broker.driver(), suffix: '-test', logger: false })
    await expect(lastValueFrom(client.publish({ topic: 'orders', value: 'x' }))).rejects.toMatchObject({
      topic: 'orders',
      reason: 'MESSAGE_TOO_LARGE',
    })
    await client.close()
  })

  it('names the topic without a consumer as users name it', async () => {
    const broker = memoryBroker({ partitions: 1 })
    const headers = { 'mika_err_billing-test_org_topic': 'refunds-test' }
    broker.publish('retry-test', [{ value: 'x', headers }])
    const client = createClient({
      ...{ driver: broker.driver(), suffix: '-test', logger: false },
      ...{ group: 'billing', retryTopic: 'retry' },
    })
    client.topic('orders').subscribe()
    const error = (await firstValueFrom(client.start())) as UnroutableFailureError
    expect(error).toBeInstanceOf(UnroutableFailureError)
    const why = error.cause as RecordWithoutConsumerError
    expect(why).toBeInstanceOf(RecordWithoutConsumerError)
    expect(why.topic).toBe('refunds')
    expect(why.message).toBe("a record on topic 'retry' belongs to topic 'refunds', which is not registered here")
    await client.close()
  })
})
