import { lastValueFrom, toArray } from 'rxjs'
import { expect, it } from 'vitest'
import { brokers, Reading } from '../../fake-broker/reading'

type Test = { onTestFinished(end: () => unknown): void }

/** A member that has read five records, and a way to read one of them again. */
async function member(test: Test) {
  const kafka = await brokers(test)
  kafka.create('retry', 0)
  for (const value of ['a', 'b', 'c', 'd', 'e']) kafka.log('retry').append(value)
  const reading = await Reading.start(test, kafka, ['retry'])
  await reading.until(() => reading.has('e'))
  const readAt = async (offset: number) => {
    const batches = await lastValueFrom(reading.driver.readAt(reading.assigned.get('retry-0')!, offset).pipe(toArray()))
    return batches.map(batch => `${batch.offset(0)} ${batch.value(0)}`)
  }
  return { kafka, readAt }
}

it('emits the next record if retention has deleted the requested one', async test => {
  const { kafka, readAt } = await member(test)
  expect((await readAt(1))[0]).toBe('1 b')
  kafka.log('retry').deleteBefore(3)
  expect((await readAt(1))[0]).toBe('3 d')
})

it('emits nothing if retention has deleted all records', async test => {
  const { kafka, readAt } = await member(test)
  kafka.log('retry').deleteBefore(5)
  expect(await readAt(1)).toEqual([])
})

it('fails if the broker sends no records although the log has them, as it may while they are in tiered storage', async test => {
  const { kafka, readAt } = await member(test)
  kafka.on('Fetch', ({ request }) =>
    request.topics[0].partitions[0].fetchOffset === 1
      ? {
          change: answer => ({
            ...answer,
            responses: answer.responses.map((topic: { partitions: object[] }) => ({
              ...topic,
              partitions: topic.partitions.map(each => ({ ...each, records: Buffer.alloc(0) })),
            })),
          }),
        }
      : undefined,
  )
  await expect(readAt(1)).rejects.toThrow('retry-0@1 cannot be read: the broker sent no records')
})
