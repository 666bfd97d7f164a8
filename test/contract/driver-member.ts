import { lastValueFrom, type Observable, Subject, type Subscription } from 'rxjs'
import type { CommitPoint, ConsumeRequest, Driver, DriverEvent, PartitionAssignment, RecordBatch } from 'rxmika'
import { Collected } from './collected'

/** Resolves with the last value on completion; rejects with its error. */
export const done = (work: Observable<unknown>) => lastValueFrom(work, { defaultValue: undefined })

export interface Read {
  readonly assignment: PartitionAssignment
  readonly batch: RecordBatch
  readonly index: number
  readonly offset: number
  readonly value: Buffer | null
}

/** A driver that consumes. Assigned partitions are resumed by default. */
export class Member {
  readonly events: Collected<DriverEvent>
  readonly reads: Read[] = []
  readonly owned = new Map<string, PartitionAssignment>()
  readonly subscription: Subscription

  constructor(
    readonly driver: Driver,
    request: Pick<ConsumeRequest, 'topics'> & Partial<ConsumeRequest>,
    readonly options: { readonly paused?: boolean; readonly hold?: Observable<unknown> } = {},
  ) {
    const timeouts = { rebalanceTimeout: 10_000, sessionTimeout: 30_000, heartbeatInterval: 200 }
    const events = new Subject<DriverEvent>()
    this.events = new Collected(events)
    this.subscription = driver.consume({ group: undefined, startFrom: 'earliest', ...timeouts, ...request }).subscribe({
      next: event => {
        this.#take(event)
        events.next(event)
      },
      error: error => events.error(error),
      complete: () => events.complete(),
    })
  }

  #take(event: DriverEvent): void {
    switch (event.type) {
      case 'assigned':
        for (const assignment of event.added) this.owned.set(placeName(assignment), assignment)
        if (this.options.paused !== true) this.driver.resume(event.added)
        break
      case 'batch':
        for (let index = event.from; index < event.batch.count; index++) {
          const { assignment, batch } = event
          this.reads.push({ assignment, batch, index, offset: batch.offset(index), value: batch.value(index) })
        }
        break
      case 'revoking':
        if (this.options.hold !== undefined) event.hold(this.options.hold)
        break
      case 'revoked':
      case 'lost':
        for (const assignment of event.assignments) this.owned.delete(placeName(assignment))
    }
  }

  seen(type: DriverEvent['type'], least = 1) {
    return this.events.until(events => events.filter(event => event.type === type).length >= least)
  }

  async read(least: number): Promise<readonly Read[]> {
    await this.events.until(() => this.reads.length >= least)
    return this.reads
  }

  commit(assignment: PartitionAssignment, offset: number, metadata?: string): Promise<unknown> {
    const { topic, partition } = assignment
    const point: CommitPoint = { topic, partition, offset: BigInt(offset), metadata, assignment }
    return done(this.driver.commit([point]))
  }
}

export const placeName = ({ topic, partition }: PartitionAssignment) => `${topic}/${partition}`
