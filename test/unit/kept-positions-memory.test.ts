import { type SchedulerAction, VirtualTimeScheduler } from 'rxjs'
import { expect, it } from 'vitest'
import { KeptPositions } from '../../src/client/kept-positions.js'
import { TopicNames } from '../../src/client/topic-names.js'
import { collectGarbage } from '../collect-garbage.js'

/** Remembers its actions weakly. */
class Watched extends VirtualTimeScheduler {
  readonly made: WeakRef<object>[] = []

  override schedule<T>(work: (this: SchedulerAction<T>, state?: T) => void, delay?: number, state?: T) {
    const action = super.schedule(work, delay, state)
    this.made.push(new WeakRef(action))
    return action
  }

  runTo(frame: number): void {
    this.maxFrames = frame
    this.flush()
    this.frame = frame
  }
}

it('positions that fail for a long time leave nothing behind per failure', async () => {
  const scheduler = new Watched(undefined, 0)
  let calls = 0
  const kept = new KeptPositions({
    positions: () => {
      calls++
      throw new Error('the database is away')
    },
    patience: 60_000,
    driver: {} as never,
    clock: { scheduler, monotonic: () => scheduler.frame, wall: () => scheduler.frame },
    reports: { error: () => {} } as never,
    names: new TopicNames(''),
    begin: () => {},
    onFound: () => {},
  })
  kept.take([{ topic: 'orders', partition: 0, position: 0, metadata: '', ended: false } as never])
  scheduler.runTo(3_600_000)
  expect(calls).toBeGreaterThan(300)
  await new Promise(resolve => setImmediate(resolve))
  collectGarbage()
  expect(scheduler.made.filter(action => action.deref() !== undefined).length).toBeLessThan(10)
  kept.end()
})
