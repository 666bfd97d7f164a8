import { Observable, Subject, take } from 'rxjs'
import { expect, it } from 'vitest'
import { shielded } from '../../src/client/ending.js'

it('a shielded source that emits while it is subscribed to is left as soon as its subscriber has enough', () => {
  const emitted: number[] = []
  const source = new Observable<number>(subscriber => {
    for (let n = 0; n < 5 && !subscriber.closed; n++) {
      emitted.push(n)
      subscriber.next(n)
    }
  })
  shielded(source).pipe(take(1)).subscribe()
  expect(emitted).toEqual([0])
})

it('a shielded subject keeps no subscriber that has left', () => {
  const subject = new Subject<number>()
  shielded(subject).pipe(take(1)).subscribe()
  subject.next(1)
  expect(subject.observed).toBe(false)
})
