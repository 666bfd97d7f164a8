import type { ClientEvent, Place } from '../events.js'
import { placeName } from '../place.js'
import { messageOf, nameOf } from '../retry/reason.js'
import type { Happening, HappeningList } from './messages.js'

/** How many happenings each log keeps. */
const maxKept = 100
/** Limit on the length of an error message or name, in characters. */
const maxTextLength = 300

/** Counts happenings, and keeps the newest. */
export class HappeningLog implements HappeningList {
  count = 0
  readonly newest: Happening[] = []

  add(happening: Happening): void {
    this.count++
    this.newest.push(happening)
    if (this.newest.length > maxKept) this.newest.shift()
  }

  toJSON(): HappeningList {
    return { count: this.count, newest: this.newest }
  }
}

/** Describes an event for the lists of the page. Undefined if events of this type are not listed. */
export function happeningOf(event: ClientEvent, at: number): Happening | undefined {
  switch (event.type) {
    case 'retried':
    case 'dead-lettered':
    case 'discarded':
      return { ...placed(event, at), ...failed(event.reason), attempt: event.attempt }
    case 'outrun':
      return { ...placed(event, at), text: `${event.then} after ${event.first}; the first call counts` }
    case 'leaked':
      return { ...placed(event, at), text: 'dropped by the pipeline without ack() or fail()' }
    case 'late-settlement':
      return { ...placed(event, at), text: 'settled after its partition was revoked or lost' }
    case 'stalled':
      return { ...placed(event, at), text: event.why, attempt: event.attempt }
    case 'unstalled':
      return { ...placed(event, at), text: 'no longer stalled' }
    case 'assigned':
    case 'revoked':
    case 'lost':
      return { ...placed(event, at), text: event.type }
    case 'moved':
      return { ...placed(event, at), text: `moved from ${event.from}` }
    case 'forgotten':
      return { ...placed(event, at), text: `${event.ranges} ranges of finished records did not fit into the commit` }
    case 'paused':
    case 'resumed':
      return { at, type: event.type, place: event.topic, text: event.type }
    case 'tripped':
      return {
        ...{ at, type: event.type, place: event.topic },
        text: `more than ${event.failures} failures in ${event.within} ms`,
      }
    case 'disconnected':
    case 'restarted':
      return { at, type: event.type, ...failed(event.error) }
    case 'reconnected':
      return { at, type: event.type, text: 'the brokers answer again' }
    case 'state':
      return { at, type: event.type, text: event.state, ...(event.error && failed(event.error)) }
    default:
      return undefined
  }
}

export function errorHappening(error: Error, at: number): Happening {
  return { at, type: 'error', ...failed(error) }
}

function failed(reason: unknown): Pick<Happening, 'text' | 'error'> {
  return { text: shortened(messageOf(reason)), error: shortened(nameOf(reason)) }
}

function placed(event: Place & { readonly type: ClientEvent['type']; readonly origin?: Place }, at: number) {
  const { type, origin } = event
  return { at, type, place: placeName(event), ...(origin !== undefined && { origin: placeName(origin) }) }
}

function shortened(text: string): string {
  return text.length > maxTextLength ? `${text.slice(0, maxTextLength)}…` : text
}
