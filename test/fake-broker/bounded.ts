import { pino } from 'pino'
import { lastValueFrom, type Subscription } from 'rxjs'
import type { ReadRequest } from '../../src/driver'
import { KafkaDriver } from '../../src/drivers/kafka/driver'
import type { RxMikaError } from '../../src/errors'
import type { FakeKafka } from './fake-kafka'

/** A vitest context, or a `Scope`. */
interface Ending {
  onTestFinished(end: () => unknown): void
}

export async function connectedDriver({ onTestFinished }: Ending, kafka: FakeKafka): Promise<KafkaDriver> {
  const driver = new KafkaDriver({ brokers: kafka.addresses })
  onTestFinished(() => lastValueFrom(driver.close(), { defaultValue: undefined }))
  const context = { clientId: 'reading', logger: pino({ enabled: false }) }
  await lastValueFrom(driver.connect(context), { defaultValue: undefined })
  return driver
}

/** A bounded read of topic `orders`, and its emissions. */
export class Bounded {
  /** As `partition@offset value`. */
  readonly records: string[] = []
  readonly troubles: RxMikaError[] = []
  end: { readonly error?: unknown } | undefined
  readonly subscription: Subscription
  /** Resolves at the end. */
  readonly ended: Promise<{ readonly error?: unknown }>
  onBatch: () => void = () => {}
  readonly #waiting = new Set<() => void>()

  constructor(driver: KafkaDriver, request: Partial<ReadRequest> = {}) {
    let finish!: (end: { readonly error?: unknown }) => void
    this.ended = new Promise(resolve => {
      finish = resolve
    })
    const over = (end: { readonly error?: unknown }) => {
      this.end = end
      finish(end)
      this.#changed()
    }
    const whole: ReadRequest = { topic: 'orders', from: 'earliest', until: 'caught-up', ...request }
    this.subscription = driver.read(whole).subscribe({
      next: event => {
        if (event.type === 'trouble') this.troubles.push(event.error)
        else {
          const { batch, partition } = event
          for (let at = event.from; at < event.to; at++) {
            this.records.push(`${partition}@${batch.offset(at)} ${batch.value(at)}`)
          }
          this.onBatch()
        }
        this.#changed()
      },
      error: error => over({ error }),
      complete: () => over({}),
    })
  }

  /** Resolves when an emission makes the condition true. */
  until(isSo: () => boolean): Promise<void> {
    return new Promise(resolve => {
      const look = () => {
        if (!isSo()) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
  }

  #changed(): void {
    for (const look of [...this.#waiting]) look()
  }
}
