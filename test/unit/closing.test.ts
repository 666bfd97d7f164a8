import { concat, EMPTY, firstValueFrom, merge, of, Subject, throwError } from 'rxjs'
import {
  ClientClosedError,
  ConnectionError,
  createClient,
  type Driver,
  deadLetter,
  discard,
  FetchError,
  PublishError,
  type RxMikaError,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'

it('reports no error for a request that its own closing cut off while it was starting', async () => {
  const memory = memoryBroker().driver()
  const answer = new Subject<never>()
  const asked = new Subject<void>()
  const driver: Driver = {
    scheduler: memory.scheduler,
    connect: context => memory.connect(context),
    topics: () => {
      asked.next()
      return answer
    },
    endOffsets: topic => memory.endOffsets(topic),
    consume: request => memory.consume(request),
    pause: assignments => memory.pause(assignments),
    resume: assignments => memory.resume(assignments),
    readAt: (assignment, offset) => memory.readAt(assignment, offset),
    commit: points => memory.commit(points),
    produce: records => memory.produce(records),
    leave: () => memory.leave(),
    close: () => {
      answer.error(new ConnectionError('the driver is closed'))
      return memory.close()
    },
  }
  const client = createClient({ driver, group: 'g', env: {}, logger: false })
  const errors: RxMikaError[] = []
  client.errors.subscribe(error => errors.push(error))
  let completed = false
  client.topic('orders').subscribe({
    complete: () => {
      completed = true
    },
  })
  const closing = new Promise<void>(resolve => asked.subscribe(() => resolve()))
  client.start()
  await closing
  expect(await client.close()).toEqual({ drained: true, unsettled: 0, left: [] })
  expect(errors).toEqual([])
  expect(completed).toBe(true)
})

it('reports as unsettled no record that one way of its route completed and another could not', async () => {
  const broker = memoryBroker()
  const client = createClient({ driver: broker.driver(), group: 'g', dlqTopic: 'dlq', env: {}, logger: false })
  const forked = client.topic('orders', {
    onFail: failures => merge(failures.pipe(discard()), failures.pipe(deadLetter(client))),
  })
  forked.subscribe(record => record.fail('no'))
  broker.publish('orders', [{ value: '0' }])
  broker.failNext('produce', new PublishError('never', { retriable: false }))
  const held = new Promise<RxMikaError>(resolve =>
    client.errors.subscribe(error => error.code === 'RXMIKA_UNROUTABLE_FAILURE' && resolve(error)),
  )
  client.start()
  expect((await held).message).toContain('never')
  expect(await client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
})

it('errors a replay that is subscribed to once the client closes: it is not caught up', async () => {
  const client = createClient({ driver: memoryBroker().driver(), group: 'g', dlqTopic: 'dlq', env: {}, logger: false })
  const replay = client.replayDlq()
  await client.close()
  await expect(firstValueFrom(replay)).rejects.toBeInstanceOf(ClientClosedError)
})

it('names topics as users do in what goes wrong, also in what closes it', async () => {
  const place = { topic: 'orders-test', partition: 0, offset: 7n }
  const driver = {
    connect: () => EMPTY,
    topics: (names: readonly string[]) => of(new Map(names.map(name => [name, 1]))),
    consume: () =>
      concat(
        of({ type: 'trouble', error: new FetchError('passed over', place) }),
        throwError(() => new FetchError('no such codec', place)),
      ),
    leave: () => EMPTY,
    close: () => EMPTY,
  } as unknown as Driver
  const client = createClient({ driver, group: 'g', suffix: '-test', env: {}, logger: false })
  const errors: RxMikaError[] = []
  client.errors.subscribe(error => errors.push(error))
  let told: unknown
  client.topic('orders').subscribe({
    error: error => {
      told = error
    },
  })
  client.start()
  await client.closed
  expect(errors).toMatchObject([
    { ...place, topic: 'orders', message: 'passed over' },
    { ...place, topic: 'orders', message: 'no such codec' },
  ])
  expect(told).toBe(errors[1])
})
