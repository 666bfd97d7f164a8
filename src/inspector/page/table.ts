import type { PartitionState, StallState } from '../messages.js'
import { byId, element, setText } from './dom.js'
import { drawAxis, drawLane, type Palette } from './drawing.js'
import type { Lane, Store } from './store.js'
import { heldAfter, short, summary, waitsFor } from './words.js'

/** Rows share the available height equally, within these limits, px. */
const [minRowHeight, maxRowHeight] = [20, 36]
/** Rows lower than this have a smaller font, px. */
const denseBelow = 26

class Row {
  readonly element = element('tr')
  readonly button = element('button')
  readonly canvas = element('canvas')
  readonly inFlight = element('td', '', 'number')
  readonly lag = element('td', '', 'number')
  readonly waits = element('td')
  visible = false

  constructor(
    readonly name: string,
    onSelect: (name: string) => void,
  ) {
    const head = element('th')
    head.scope = 'row'
    this.button.type = 'button'
    this.button.textContent = name
    this.button.title = name
    this.button.tabIndex = -1
    this.button.setAttribute('aria-pressed', 'false')
    this.button.addEventListener('click', () => onSelect(name))
    head.append(this.button)
    const lane = element('td', '', 'lane')
    this.canvas.setAttribute('role', 'img')
    lane.append(this.canvas)
    this.element.append(head, lane, this.inFlight, this.lag, this.waits)
  }
}

/** The table of partitions, one row each. Only the rows on the screen are drawn. */
export class Table {
  readonly #rows = new Map<string, Row>()
  readonly #body = byId<HTMLTableSectionElement>('rows')
  readonly #byCanvas = new Map<Element, Row>()
  readonly #visibility = new IntersectionObserver(
    entries => {
      for (const { target, isIntersecting } of entries) {
        const row = this.#byCanvas.get(target)
        if (row !== undefined) row.visible = isIntersecting
      }
      this.onVisibility()
    },
    { root: document.querySelector('.scroll') },
  )
  #partitions = new Map<string, PartitionState>()
  #stalls = new Map<string, StallState>()
  selected: string | undefined

  constructor(
    readonly store: Store,
    readonly onSelect: (name: string | undefined) => void,
    readonly onVisibility: () => void,
  ) {
    this.#body.addEventListener('keydown', event => this.#onKey(event))
  }

  partition(name: string): PartitionState | undefined {
    return this.#partitions.get(name)
  }

  stall(name: string): StallState | undefined {
    return this.#stalls.get(name)
  }

  get visibleRows(): number {
    let visible = 0
    for (const row of this.#rows.values()) if (row.visible) visible++
    return visible
  }

  /** Updates the rows to the current state and the filters. */
  update(now: number, filter: string, onlyHeld: boolean): void {
    const { partitions = [], stalls = [] } = this.store.standing ?? {}
    this.#partitions = new Map(partitions.map(partition => [partition.name, partition]))
    this.#stalls = new Map(stalls.map(stall => [`${stall.topic}-${stall.partition}`, stall]))
    const matching = partitions.filter(
      ({ name }) => name.includes(filter) && (!onlyHeld || waitsFor(this.#stalls.get(name), now) !== ''),
    )
    this.#arrange(matching.map(({ name }) => name))
    const rowHeight = this.#height() / Math.max(1, matching.length)
    const height = Math.floor(Math.min(maxRowHeight, Math.max(minRowHeight, rowHeight)))
    this.#body.classList.toggle('dense', height < denseBelow)
    this.#body.style.setProperty('--lane', `${height - 1}px`)
    for (const partition of matching) this.#fill(this.#rows.get(partition.name)!, partition, now)
    const empty = byId('empty')
    empty.hidden = matching.length > 0
    setText(
      empty,
      partitions.length === 0 ? 'No partitions are assigned to this client.' : 'No partition matches the filter.',
    )
  }

  draw(now: number, colours: Palette): void {
    for (const row of this.#rows.values()) {
      if (!row.visible) continue
      const { name } = row
      const position = Number(this.#partitions.get(name)?.position ?? 0)
      drawLane(row.canvas, this.#lane(name), { colours, now, stall: this.#stalls.get(name), position, heldAfter })
    }
  }

  drawAxis(colours: Palette): void {
    drawAxis(byId<HTMLCanvasElement>('axis'), colours)
  }

  select(name: string | undefined): void {
    this.selected = name
    for (const row of this.#rows.values()) row.button.setAttribute('aria-pressed', String(row.name === name))
    this.onSelect(name)
  }

  /** The height available for rows, px. */
  #height(): number {
    const scroll = this.#body.closest('.scroll')!
    return scroll.clientHeight - scroll.querySelector('thead')!.offsetHeight - 2
  }

  #lane(name: string): Lane | undefined {
    return this.store.lanes.get(name)
  }

  #fill(row: Row, partition: PartitionState, now: number): void {
    const stall = this.#stalls.get(partition.name)
    setText(row.inFlight, short(partition.inFlight))
    setText(row.lag, partition.lag === null ? '–' : short(Number(partition.lag)))
    const waits = waitsFor(stall, now)
    setText(row.waits, waits)
    row.waits.title = waits
    row.waits.className = waits !== '' && stall?.why !== 'not-due' ? 'held' : ''
    if (row.visible) row.canvas.setAttribute('aria-label', summary(this.#lane(partition.name), partition, stall, now))
  }

  #arrange(names: readonly string[]): void {
    const wanted = new Set(names)
    for (const [name, row] of this.#rows) {
      if (wanted.has(name)) continue
      const hadFocus = row.button === document.activeElement
      row.element.remove()
      this.#visibility.unobserve(row.canvas)
      this.#byCanvas.delete(row.canvas)
      this.#rows.delete(name)
      if (hadFocus) this.#body.querySelector('button')?.focus()
    }
    let before: Element | null = null
    for (const name of names) {
      let row = this.#rows.get(name)
      if (row === undefined) {
        row = new Row(name, chosen => this.select(chosen === this.selected ? undefined : chosen))
        row.button.setAttribute('aria-pressed', String(name === this.selected))
        this.#rows.set(name, row)
        this.#byCanvas.set(row.canvas, row)
        this.#visibility.observe(row.canvas)
      }
      const place: Element | null = before === null ? this.#body.firstElementChild : before.nextElementSibling
      if (place !== row.element) this.#body.insertBefore(row.element, place)
      before = row.element
    }
    // Tab focuses one row, and arrow keys move between rows, so exactly one button has tabIndex 0.
    const buttons = [...this.#body.querySelectorAll('button')]
    if (!buttons.some(({ tabIndex }) => tabIndex === 0) && buttons[0] !== undefined) buttons[0].tabIndex = 0
  }

  #onKey(event: KeyboardEvent): void {
    const buttons = [...this.#body.querySelectorAll('button')]
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement)
    const page = 10
    const steps: Readonly<Record<string, number>> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: buttons.length - 1,
    }
    const to = steps[event.key]
    if (at === -1 || to === undefined) return
    event.preventDefault()
    const next = buttons[Math.min(buttons.length - 1, Math.max(0, to))]!
    for (const button of buttons) button.tabIndex = -1
    next.tabIndex = 0
    next.focus()
    next.scrollIntoView({ block: 'nearest' })
  }
}
