import { setImmediate as turn } from 'node:timers/promises'
import { asyncScheduler, Subject } from 'rxjs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Publisher } from '../../src/client/publisher.js'
import type { Driver } from '../../src/driver.js'
import type { ProduceResult, PublishRecord } from '../../src/index.js'

/** A driver that answers when told, and what it was asked to write. */
function publisher() {
  const asked: { values: unknown[]; answer(): void }[] = []
  const produce = (records: readonly PublishRecord[]) => {
    const answers = new Subject<readonly ProduceResult[]>()
    const answer = () => {
      answers.next(records.map(({ topic }, at) => ({ ok: true as const, topic, partition: 0, offset: BigInt(at) })))
      answers.complete()
    }
    asked.push({ values: records.map(({ value }) => value), answer })
    return answers
  }
  const made = new Publisher({ produce } as unknown as Driver, asyncScheduler, () => {})
  const send = (value: string) => made.send({ topic: 'copies', value }, { settle: () => {}, again: () => false })
  return { asked, send, values: () => asked.map(({ values }) => values) }
}

/** Not `setImmediate`. */
const timers = ['setInterval', 'clearInterval'] as const

describe('what is published together', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('goes out in the same turn of the event loop where nothing is under way, without a timer', async () => {
    vi.useFakeTimers({ toFake: [...timers] })
    const { send, values } = publisher()
    send('a')
    Promise.resolve()
      .then(() => send('b'))
      .catch(error => expect.unreachable(error))
    expect(values()).toEqual([])
    await turn()
    expect(values()).toEqual([['a', 'b']])
  })

  it('is gathered for a millisecond while something is under way', async () => {
    vi.useFakeTimers({ toFake: [...timers] })
    const { send, values } = publisher()
    send('a')
    await turn()
    send('b')
    await turn()
    send('c')
    await turn()
    expect(values()).toEqual([['a']])
    vi.advanceTimersByTime(1)
    expect(values()).toEqual([['a'], ['b', 'c']])
  })

  it('is gathered until an answer comes while four requests are under way', async () => {
    vi.useFakeTimers({ toFake: [...timers] })
    const { asked, send, values } = publisher()
    for (const value of ['a', 'b', 'c', 'd']) {
      send(value)
      await turn()
      vi.advanceTimersByTime(1)
    }
    send('e')
    vi.advanceTimersByTime(1_000)
    send('f')
    expect(values()).toEqual([['a'], ['b'], ['c'], ['d']])
    asked[2]!.answer()
    vi.advanceTimersByTime(1)
    expect(values()).toEqual([['a'], ['b'], ['c'], ['d'], ['e', 'f']])
  })
})
