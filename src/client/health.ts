import type { Driver } from '../driver.js'
import type { RxMikaError } from '../errors.js'
import type { ClientState } from '../events.js'
import type { ClientHealth } from '../metrics.js'
import { messageOf } from '../retry/reason.js'
import { waitsForGroup } from './joining.js'

export interface HealthHost {
  readonly driver: Pick<Driver, 'keepAsking' | 'lastFailure'>
  /** The current state. */
  state(): ClientState
  /** The error that closed the client. */
  failure(): RxMikaError | undefined
  /** Why no broker can be reached, as the driver reported. */
  outage(): { readonly error: unknown } | undefined
  /** The group whose first assignment the client waits for. */
  awaitedGroup(): string | undefined
  /** True: the group rebalanced without this member, and it has not rejoined. */
  isOut(): boolean
  /** True: an error ended the stream of every registered topic, and none was subscribed to again. */
  isOver(): boolean
}

/** What `client.health()` returns. */
export class Health {
  #asking = false

  constructor(readonly host: HealthHost) {}

  look(): ClientHealth {
    const { driver } = this.host
    const state = this.host.state()
    if (!this.#asking && state !== 'closed') {
      // Only from the first call on, because it costs a request every few seconds while nothing is read.
      this.#asking = true
      driver.keepAsking?.()
    }
    const failure = this.host.failure()
    if (failure !== undefined) {
      return { live: false, ready: false, reasons: [`closed by an error: ${messageOf(failure)}`] }
    }
    if (state !== 'running') return { live: true, ready: false, reasons: [this.#notRunning(state)] }
    if (this.host.isOver()) {
      return {
        live: false,
        ready: false,
        reasons: ['no topic can be read, and no stream was subscribed to again; see errors'],
      }
    }
    const reasons: string[] = []
    const outage = this.host.outage()
    if (outage !== undefined) reasons.push(`no broker answers: ${messageOf(outage.error)}`)
    if (this.host.isOut()) reasons.push('its partitions were lost, and it has not joined the group again')
    return { live: true, ready: reasons.length === 0, reasons }
  }

  #notRunning(state: ClientState): string {
    switch (state) {
      case 'idle':
        return 'not started'
      case 'starting': {
        const error = this.host.outage()?.error ?? this.host.driver.lastFailure
        if (error !== undefined) return `starting; no broker answers: ${messageOf(error)}`
        const group = this.host.awaitedGroup()
        return group === undefined ? 'starting' : `starting; ${waitsForGroup(group)}`
      }
      case 'draining':
        return 'draining'
      default:
        return 'closed'
    }
  }
}
