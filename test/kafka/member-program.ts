import { pino } from 'pino'
import { lastValueFrom } from 'rxjs'
import type { DriverEvent, PartitionAssignment } from 'rxmika'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import '../strict'
import type { CommitOrder, MemberReport, MemberTask } from './member-process'

// The program of a `MemberProcess`: consumes, reports what happens, and commits on request.

const { brokers, request } = JSON.parse(process.argv[2]!) as MemberTask
const report = (message: MemberReport) => process.send!(message)
const driver = kafkaDriver({ brokers })
/** The newest assignment of each partition. Kept after it has ended, because tests commit for it: the driver must not send that. */
const assignments = new Map<number, PartitionAssignment>()

process.on('message', ({ partition, offset }: CommitOrder) => {
  const assignment = assignments.get(partition)!
  const point = { topic: assignment.topic, partition, offset: BigInt(offset), assignment }
  lastValueFrom(driver.commit([point]), { defaultValue: undefined }).then(
    () => report({ type: 'commit', offset }),
    (error: Error) => report({ type: 'commit', offset, error: error.message }),
  )
})

await lastValueFrom(driver.connect({ clientId: 'frozen', logger: pino({ level: 'silent' }) }), {
  defaultValue: undefined,
})
driver.consume(request).subscribe(event => tell(event))

function tell(event: DriverEvent): void {
  switch (event.type) {
    case 'assigned':
      for (const assignment of event.added) assignments.set(assignment.partition, assignment)
      driver.resume(event.added)
      report({ type: 'assigned', partitions: numbers([...event.added, ...event.retained]) })
      return
    case 'lost':
    case 'revoked':
      report({ type: event.type, partitions: numbers(event.assignments) })
      return
    case 'batch':
      for (let index = event.from; index < event.batch.count; index++) {
        report({ type: 'read', partition: event.assignment.partition, offset: event.batch.offset(index) })
      }
      return
    default:
      report({ type: 'other', event: event.type })
  }
}

function numbers(assignments: readonly PartitionAssignment[]): number[] {
  return assignments.map(({ partition }) => partition)
}
