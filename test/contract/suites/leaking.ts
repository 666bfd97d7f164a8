import { setTimeout } from 'node:timers/promises'
import { filter, tap } from 'rxjs'
import { deadLetterOf } from 'rxmika'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { collectGarbage } from '../../collect-garbage'
import type { Backend } from '../backend'
import { numbered, scenarios } from '../world'

/** The option `leaks`: what becomes of a record that a pipeline dropped unsettled. */
export function leaking(backend: Backend): void {
  const scenario = scenarios(backend)

  /** Collects garbage until the promise is settled. */
  async function collecting(done: Promise<unknown>): Promise<void> {
    let open = true
    const end = done.finally(() => {
      open = false
    })
    while (open) {
      collectGarbage()
      await Promise.race([setTimeout(100), end])
    }
    await end
  }

  describe('leaks', () => {
    beforeAll(() => backend.open())
    afterAll(() => backend.close())

    scenario(
      'fail and redeliver: a record dropped by filter becomes a dead letter, and holds nothing back',
      async world => {
        const play = async (leaks: 'fail' | 'redeliver', attempts: readonly number[]) => {
          const [topic, dlqTopic] = [await world.topic(`${leaks}-orders`), await world.topic(`${leaks}-dlq`)]
          await backend.publish(topic, numbered(0, 6))
          const run = world.client({ group: world.name(leaks), leaks, dlqTopic })
          const delivered: number[] = []
          run.client
            .topic(topic, { dlq: true })
            .pipe(
              tap(record => String(record.value) === '2' && delivered.push(record.attempt)),
              filter(record => String(record.value) !== '2'),
            )
            .subscribe(record => record.ack())
          run.client.start()
          await collecting(run.committed(topic, 0, 6))
          expect(delivered).toEqual(attempts)
          const letters = await backend.records(dlqTopic)
          expect(letters.map(letter => ({ value: String(letter.value), ...deadLetterOf(letter) }))).toMatchObject([
            { value: '2', topic, offset: 2n, errorName: 'LeakedRecordError', stage: 'pipeline' },
          ])
          const leaked = run.events.values.flatMap(event => (event.type === 'leaked' ? [event.offset] : []))
          expect(leaked).toEqual(attempts.map(() => 2n))
          expect(run.client.stalls()).toEqual([])
        }
        await Promise.all([play('fail', [1]), play('redeliver', [1, 2, 3, 4])])
      },
    )
  })
}
