import { EMPTY, NEVER, retry, type SchedulerLike } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { Publications } from '../../src/client/publications.js'
import type { Publisher } from '../../src/client/publisher.js'
import { TopicNames } from '../../src/client/topic-names.js'
import { PublishError } from '../../src/index.js'
import { Clock } from './clock.js'

const unanswered = { send: () => NEVER } as unknown as Publisher
const record = { topic: 'copies', value: 'x' }

function publications(scheduler: SchedulerLike) {
  return new Publications({
    publisher: unanswered,
    names: new TopicNames(''),
    scheduler,
    connected: EMPTY,
    ended: () => {},
  })
}

describe('the time-out of publish', () => {
  it('has one timer, also when a caller publishes again from within its error', () => {
    const clock = new Clock()
    const open = publications(clock)
    const caller = open
      .publish([record], ['copies'], 1000)
      .pipe(retry({ count: 20 }))
      .subscribe({ error: () => {} })
    clock.runTo(10_500)
    expect(clock.actions).toHaveLength(1)
    caller.unsubscribe()
    expect(clock.actions.filter(({ closed }) => !closed)).toEqual([])
    expect(open.open).toBe(0)
  })

  it('comes after twice its time at the latest when the clock is set back', () => {
    const clock = new Clock()
    let shift = 10_000_000
    clock.now = () => clock.frame + shift
    const errors: [number, unknown][] = []
    publications(clock)
      .publish([record], ['copies'], 1000)
      .subscribe({ error: error => errors.push([clock.frame, error]) })
    clock.runTo(10)
    shift -= 3_600_000
    clock.runTo(10_000)
    expect(errors).toEqual([[2000, expect.any(PublishError)]])
  })
})
