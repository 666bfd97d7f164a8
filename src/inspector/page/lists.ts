import type { Happening, StallState } from '../messages.js'
import { byId, element, setText } from './dom.js'
import type { List, Store } from './store.js'
import type { Table } from './table.js'
import { duration, heldAfter, markText, reasons, short, time } from './words.js'

/** Limit on the entries of each list on the page. */
const maxEntries = 30

interface Entry {
  readonly place: string
  readonly when: string
  readonly text: string
}

/** The lists beside the diagrams. */
export class Lists {
  /** The content of each list, as text. A list is not replaced while its content is the same, so that its text can be selected. */
  readonly #contents = new Map<string, string>()

  constructor(
    readonly store: Store,
    readonly table: Table,
  ) {}

  update(now: number): void {
    const { standing } = this.store
    if (standing === undefined) return
    const held = standing.stalls
      .filter(({ why, since }) => why !== 'not-due' && now - since >= heldAfter)
      .sort((one, other) => one.since - other.since)
    this.#list(
      'held',
      held.length,
      held.map(stall => heldEntry(stall, now)),
      'Nothing is held back.',
    )
    const { waiting, next } = standing.retries
    this.#list(
      'retries',
      waiting,
      next.map(stall => retryEntry(stall, now)),
      'No retries are waiting.',
    )
    this.#happenings('dead', this.store.deadLetters, 'None since the inspector was started.')
    this.#happenings('errors', this.store.errors, 'None since the inspector was started.')
    this.#happenings('rebalances', this.store.rebalances, 'None since the inspector was started.')
    this.#selected(now)
  }

  #happenings(id: string, { count, newest }: List, none: string): void {
    this.#list(id, count, newest.slice(-maxEntries).reverse().map(happeningEntry), none)
  }

  #list(id: string, count: number, entries: readonly Entry[], none: string): void {
    setText(byId(`${id}-count`), count === 0 ? '' : short(count))
    this.#fill(id, entries.slice(0, maxEntries), none, count - Math.min(count, entries.length, maxEntries))
  }

  #fill(id: string, entries: readonly Entry[], none: string, more: number): void {
    const key = JSON.stringify([entries, more])
    if (this.#contents.get(id) === key) return
    this.#contents.set(id, key)
    const items = entries.map(({ place, when, text }) => {
      const item = element('li')
      const head = element('div', '', 'head')
      head.append(element('span', place, 'place'), element('span', when, 'when'))
      item.append(head)
      if (text !== '') item.append(element('div', text, 'text'))
      return item
    })
    if (entries.length === 0) items.push(element('li', none, 'none'))
    else if (more > 0) items.push(element('li', `and ${short(more)} more`, 'none'))
    byId(id).replaceChildren(...items)
  }

  #selected(now: number): void {
    const { selected } = this.table
    const section = byId('selected')
    section.hidden = selected === undefined
    if (selected === undefined) return
    setText(byId('selected-title'), selected)
    const partition = this.table.partition(selected)
    const facts: [string, string][] =
      partition === undefined
        ? [['state', 'not assigned to this client']]
        : [
            ['committed', partition.committed ?? 'nothing'],
            ['end of the log', partition.endOffset ?? 'unknown'],
            ['in flight', String(partition.inFlight)],
            ['lag', partition.lag ?? 'unknown'],
            ['finished out of order', String(partition.finishedBehind)],
            ['retries waiting', String(partition.delayed)],
            ['held by a failure route', String(partition.held)],
            ['oldest in flight', ageOf(partition.oldestUnsettledSince, now)],
          ]
    const key = JSON.stringify(facts)
    if (this.#contents.get('facts') !== key) {
      this.#contents.set('facts', key)
      byId('facts').replaceChildren(
        ...facts.map(([name, value]) => {
          const group = element('div')
          group.append(element('dt', name), element('dd', value))
          return group
        }),
      )
    }
    const marks = (this.store.lanes.get(selected)?.marks ?? []).filter(({ at }) => at <= now).slice(-12)
    this.#fill(
      'marks',
      marks.reverse().map(mark => ({ place: markText(mark), when: `${duration(now - mark.at)} ago`, text: '' })),
      'No marks in the last seconds.',
      0,
    )
  }
}

function ageOf(since: number | null, now: number): string {
  return since === null ? 'none' : duration(now - since)
}

function heldEntry({ place, origin, attempt, why, since, key }: StallState, now: number): Entry {
  const details = [
    `${why}: ${reasons[why]}`,
    ...(origin === null ? [] : [`first published at ${origin}`]),
    ...(attempt > 1 ? [`attempt ${attempt}`] : []),
    ...(key === null ? [] : [`key ${key.length > 40 ? `${key.slice(0, 40)}…` : key}`]),
  ]
  return { place, when: duration(now - since), text: details.join(' · ') }
}

function retryEntry({ place, origin, attempt, due }: StallState, now: number): Entry {
  const when = due === null ? 'not due' : due <= now ? 'due now' : `due in ${duration(due - now)}`
  return { place: origin ?? place, when, text: `attempt ${attempt} · waits at ${place}` }
}

function happeningEntry({ at, type, place, origin, text, error, attempt }: Happening): Entry {
  const name = type === 'error' ? (error ?? 'error') : (origin ?? place ?? 'this member')
  const details = [
    ...(error !== undefined && type !== 'error' ? [`${error}: ${text}`] : [text]),
    ...(attempt !== undefined && attempt > 1 ? [`attempt ${attempt}`] : []),
  ]
  return { place: name, when: time(at), text: details.join(' · ') }
}
