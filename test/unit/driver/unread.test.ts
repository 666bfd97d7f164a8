import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { kafkaErrors } from '../../../src/protocol/errors'
import { type Fate, refusing } from '../../fake-broker/asked'
import type { FakeKafka } from '../../fake-broker/fake-kafka'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

/** Kafka's codes for a leader that moves: it is over in a moment, or never. */
const passing = kafkaErrors.filter(
  error => error.has('staleMetadata') || ['OFFSET_NOT_AVAILABLE', 'FENCED_LEADER_EPOCH'].includes(error.name),
)

interface Way {
  readonly title: string
  readonly why: RegExp
  breaks(kafka: FakeKafka): void
}

const fetchesEnd = (title: string, why: RegExp, fate: Fate): Way => ({
  title,
  why,
  breaks: kafka => void kafka.on('Fetch', () => fate),
})

/** Faults that keep a partition from being read. */
const ways: readonly Way[] = [
  fetchesEnd('its leader does not answer fetches, and everything else', /does not answer/, { ending: 'silence' }),
  fetchesEnd('its leader cuts the connection at each fetch', /closed the connection/, { ending: 'cut' }),
  fetchesEnd('its leader refuses each fetch as a whole', /broker 0 refuses to be fetched from: UNKNOWN_SERVER_ERROR/, {
    change: answer => ({ ...answer, errorCode: -1, responses: [] }),
  }),
  ...passing.map(({ name, code }) =>
    fetchesEnd(`it is refused by ${name} again and again`, new RegExp(name), refusing(code)),
  ),
]

describe('a partition that should be read but is not', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] }))
  afterEach(() => void vi.useRealTimers())

  /** Lets seconds pass in steps of one second, as the checks do, with I/O in between. */
  async function seconds(count: number): Promise<void> {
    for (let second = 0; second < count; second++) {
      vi.advanceTimersByTime(1_000)
      await new Promise(resolve => setTimeout(resolve, 2))
    }
  }

  it.each(ways)('is reported once with the reason if $title', async ({ why, breaks }) => {
    await using test = new Scope()
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    const reading = await Reading.start(test, kafka, ['orders'], { metadataMaxAge: 100, heartbeatInterval: 60_000 })
    await reading.until(() => reading.has('a'))
    breaks(kafka)
    // The reason is known only after a refusal.
    await vi.waitUntil(() => kafka.count('Metadata') > 3 || kafka.count('Fetch') > 2)
    await seconds(9)
    const unread = () => reading.troubles.filter(({ message }) => message.includes('cannot be read for 10 s'))
    expect(unread()).toEqual([])
    await vi.waitUntil(async () => {
      await seconds(1)
      return unread().length > 0
    })
    await seconds(20)
    expect(unread().map(({ message }) => message)).toEqual([expect.stringMatching(why)])
    expect(unread()[0]).toMatchObject({ code: 'RXMIKA_FETCH', topic: 'orders', partition: 0, offset: 1n })
  })

  it('is not reported while the broker throttles this client, or the partition is paused', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    const reading = await Reading.start(test, kafka, ['orders'], { heartbeatInterval: 60_000 })
    await reading.until(() => reading.has('a'))
    let throttled = 0
    kafka.on('Fetch', () => ({
      change: answer => {
        throttled++
        return { ...answer, throttleTimeMs: 60_000 }
      },
    }))
    await vi.waitUntil(() => throttled > 0)
    await new Promise(resolve => setTimeout(resolve, 50))
    await seconds(30)
    reading.driver.pause([...reading.assigned.values()])
    await seconds(30)
    expect(reading.troubles).toEqual([])
  })
})
