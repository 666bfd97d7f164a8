import type { Happening, StallState } from '../messages.js'
import { byId, element, setText } from './dom.js'
import type { List, Store } from './store.js'
import type { Table } from './table.js'
import { duration, heldAfter, markText, reasons, short, time } from './words.js'

/** Entries of each list on the page. */
const maxShown = 30

interface Entry {
  readonly place: string
  readonly when: string
  readonly text: string
}

/** The lists beside the picture. */
export class Lists {
  /** What each list shows, so that one that did not change is not made anew under a reader. */
  readonly #shown = new Map<string, string>()

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
      held.map(of => heldEntry(of, now)),
      'Nothing is held back.',
    )
    const { waiting, next } = standing.retries
    this.#list(
      'retries',
      waiting,
      next.map(of => retryEntry(of, now)),
      'No retry waits.',
    )
    this.#told('dead', this.store.deadLetters, 'None since the inspector was started.')
    this.#told('errors', this.store.errors, 'None since the inspector was started.')
    this.#told('rebalances', this.store.rebalances, 'None since the inspector was started.')
    this.#selected(now)
  }

  #told(id: string, { count, newest }: List, none: string): void {
    this.#list(id, count, newest.slice(-maxShown).reverse().map(toldEntry), none)
  }

  #list(id: string, count: number, entries: readonly Entry[], none: string): void {
    setText(byId(`${id}-count`), count === 0 ? '' : short(count))
    this.#fill(id, entries.slice(0, maxShown), none, count - Math.min(count, entries.length, maxShown))
  }

  #fill(id: string, entries: readonly Entry[], none: string, more: number): void {
    const key = JSON.stringify([entries, more])
    if (this.#shown.get(id) === key) return
    this.#shown.set(id, key)
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
    const of = this.table.partition(selected)
    const facts: [string, string][] =
      of === undefined
        ? [['state', 'not read here now']]
        : [
            ['committed', of.committed ?? 'nothing'],
            ['end of the log', of.endOffset ?? 'not known'],
            ['in flight', String(of.inFlight)],
            ['lag', of.lag ?? 'not known'],
            ['finished behind', String(of.finishedBehind)],
            ['retries waiting', String(of.delayed)],
            ['held by a route', String(of.held)],
            ['oldest in flight', of.oldestUnsettledSince === null ? 'none' : duration(now - of.oldestUnsettledSince)],
          ]
    const key = JSON.stringify(facts)
    if (this.#shown.get('facts') !== key) {
      this.#shown.set('facts', key)
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
      'Nothing in the last seconds.',
      0,
    )
  }
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

function toldEntry({ at, type, place, origin, text, error, attempt }: Happening): Entry {
  const name = type === 'error' ? (error ?? 'error') : (origin ?? place ?? 'this member')
  const details = [
    ...(error !== undefined && type !== 'error' ? [`${error}: ${text}`] : [text]),
    ...(attempt !== undefined && attempt > 1 ? [`attempt ${attempt}`] : []),
  ]
  return { place: name, when: time(at), text: details.join(' · ') }
}
