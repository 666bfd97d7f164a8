import { VirtualTimeScheduler } from 'rxjs'
import { expect, it } from 'vitest'
import { Reports } from '../../src/client/reports.js'
import { TopicNames } from '../../src/client/topic-names.js'

it('a logger that throws once does not keep the later states, nor the end, from subscribers', () => {
  let throws = true
  const info = () => {
    if (throws) throw new Error('the disk is full')
  }
  const logger = { info, isLevelEnabled: () => false } as never
  const reports = new Reports(logger, new TopicNames(''), new VirtualTimeScheduler())
  const seen: string[] = []
  reports.state.subscribe({ next: state => seen.push(state), complete: () => seen.push('end') })
  reports.state.subscribe(state => {
    if (state === 'starting') reports.moveTo('running')
  })
  expect(() => reports.moveTo('starting')).toThrow('the disk is full')
  throws = false
  reports.moveTo('draining')
  reports.end(undefined)
  expect(seen).toEqual(['idle', 'starting', 'running', 'draining', 'end'])
})
