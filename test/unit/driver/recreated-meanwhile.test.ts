import { setTimeout as sleep } from 'node:timers/promises'
import { Subject } from 'rxjs'
import { expect, it, vi } from 'vitest'
import { errorCode } from '../../../src/protocol/errors'
import { refusing } from '../../fake-broker/asked'
import { brokers, Reading } from '../../fake-broker/reading'

it('a member of a consumer group reads nothing of a topic that was made again before the group assigns it', async test => {
  const kafka = await brokers(test)
  const orders = kafka.create('orders', 0, 0)
  kafka.create('refunds', 0)
  const reading = await Reading.start(test, kafka, ['orders', 'refunds'], {
    groupProtocol: 'consumer',
    metadataMaxAge: 100,
    rebalanceTimeout: 10_000,
  })
  await reading.until(() => reading.assigned.size === 3)
  const [memberId] = kafka.consumer.members.keys()
  const release = new Subject<void>()
  const givenUp: string[] = []
  reading.onRevoking = ({ assignments, hold }) => {
    givenUp.push(...assignments.map(({ topic, partition }) => `${topic}-${partition}`))
    hold(release)
  }
  const kept = [`${orders.id}/0`, `${kafka.topics.get('refunds')!.id}/0`]
  kafka.consumer.change(memberId!, kept)
  await reading.until(() => givenUp.length > 0)
  expect(givenUp).toEqual(['orders-1'])
  // While orders-1 is given up, the other topic is made again, and its partition goes to another member.
  const again = kafka.create('refunds', 0)
  again.logs[0]!.append('of another member')
  kafka.consumer.change(memberId!, [`${orders.id}/0`])
  await reading.until(() => !reading.assigned.has('refunds-0'))
  await sleep(600)
  expect(reading.records).toEqual([])
  release.complete()
  // When the group gives it to this member, it is read from its beginning.
  await reading.until(() => !reading.assigned.has('orders-1'))
  kafka.consumer.change(memberId!, [`${orders.id}/0`, `${again.id}/0`])
  await reading.until(() => reading.has('of another member'))
  expect(reading.records).toEqual(['refunds-0@0 of another member'])
  await vi.waitUntil(() => !kafka.consumer.reconciling)
})

it('a member of a consumer group reads nothing of such a topic if it was looking up its positions when that happened', async test => {
  const kafka = await brokers(test)
  const orders = kafka.create('orders', 0, 0)
  const refunds = kafka.create('refunds', 0)
  const place = (partition: number) => `${orders.id}/${partition}`
  const reading = await Reading.start(test, kafka, ['orders', 'refunds'], {
    groupProtocol: 'consumer',
    metadataMaxAge: 100,
    rebalanceTimeout: 10_000,
  })
  await reading.until(() => reading.assigned.size === 3)
  const [memberId] = kafka.consumer.members.keys()
  kafka.consumer.change(memberId!, [place(0), place(1)])
  await reading.until(() => reading.assigned.size === 2)
  const answer = kafka.on('OffsetFetch', () => refusing(errorCode.UNSTABLE_OFFSET_COMMIT))
  const asked = kafka.count('OffsetFetch')
  kafka.consumer.change(memberId!, [place(0), place(1), `${refunds.id}/0`])
  await vi.waitUntil(() => kafka.count('OffsetFetch') > asked, 5_000)
  const release = new Subject<void>()
  reading.onRevoking = ({ hold }) => hold(release)
  const before = reading.story.length
  kafka.consumer.change(memberId!, [place(0), `${refunds.id}/0`])
  await reading.until(() => reading.story.slice(before).includes('revoking'))
  kafka.create('refunds', 0).logs[0]!.append('of another member')
  kafka.consumer.change(memberId!, [place(0)])
  const looks = kafka.count('Metadata')
  await vi.waitUntil(() => kafka.count('Metadata') > looks + 2, 5_000)
  answer()
  await sleep(1_500)
  expect(reading.records).toEqual([])
  release.complete()
  await reading.until(() => reading.assigned.size === 1)
})
