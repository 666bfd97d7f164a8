import { type Happening, type Message, markKinds } from '../messages.js'
import { Copying } from './copying.js'
import { byId, element, setText } from './dom.js'
import { cleared, drawMark, type Palette, palette } from './drawing.js'
import { Lists } from './lists.js'
import { lateBy, Store } from './store.js'
import { Table } from './table.js'
import { short, spoken, time } from './words.js'

/** Interval between two drawings, ms. Many rows take longer to draw. */
const drawEvery = 33
const drawManyRowsEvery = 66
/** Interval between two drawings with `prefers-reduced-motion`, ms: the diagrams do not scroll, they are replaced. */
const drawReducedEvery = 1_000
/** Minimum time between two announcements of events to screen readers, ms. */
const announceEvery = 5_000

const store = new Store()
const table = new Table(
  store,
  () => refresh(),
  () => draw(),
)
const lists = new Lists(store, table)
const copying = new Copying(say)
const reduced = matchMedia('(prefers-reduced-motion: reduce)')
let colours: Palette = palette()

// ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** How far the clock of the process is ahead of the page's clock, ms. Estimated from the message with the shortest delay. */
let ahead = Number.NEGATIVE_INFINITY
/** The time at the right end of the diagrams while the page is paused. Undefined while it is live. */
let pausedAt: number | undefined

function synchronise(at: number): void {
  const difference = at - performance.now()
  // A difference of more than 2 s means that one of the clocks was set.
  ahead = Math.abs(difference - ahead) > 2_000 ? difference : Math.max(difference, ahead - 1)
}

function shownNow(): number {
  return pausedAt ?? performance.now() + ahead - lateBy
}

// ── Messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────

let isClosed = false
const source = new EventSource('/events')
source.addEventListener('message', ({ data }: MessageEvent<string>) => {
  const message = JSON.parse(data) as Message
  synchronise(message.at)
  if (message.type === 'frame' && message.standing?.state === 'closed') disconnect()
  // A paused page does not change.
  if (pausedAt !== undefined) return
  for (const happening of store.take(message)) announce(happening)
  notice(isClosed ? 'The client is closed. The page shows its last state.' : undefined)
  if (message.type === 'snapshot' || message.standing !== null) refresh()
})
source.addEventListener('error', () => {
  if (!isClosed) notice('The process does not answer. The page is reconnecting.')
})

/** Stops reconnecting, because the client is closed. */
function disconnect(): void {
  isClosed = true
  source.close()
}

function notice(text: string | undefined): void {
  const node = byId('notice')
  node.hidden = text === undefined
  setText(node, text ?? '')
}

// ── Screen readers ───────────────────────────────────────────────────────────────────────────────────────────────────

let saidAt = Number.NEGATIVE_INFINITY
function say(text: string): void {
  saidAt = performance.now()
  setText(byId('said'), text)
}

function announce(happening: Happening): void {
  const text = spoken(happening)
  if (text !== undefined && performance.now() - saidAt >= announceEvery) say(text)
}

// ── The page ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function refresh(): void {
  const { standing, snapshot } = store
  if (standing === undefined || snapshot === undefined) return
  const now = shownNow() + lateBy
  const { clientId, group, pid } = snapshot.identity
  const who = [group ?? clientId ?? '', ...(group === null || clientId === null ? [] : [clientId]), `process ${pid}`]
  setText(byId('identity'), who.filter(Boolean).join(' · '))
  badge('state', standing.state, standing.state === 'running')
  const { ready, live, reasons } = standing.health
  badge('ready', ready ? 'ready' : live ? 'not ready' : 'not live', ready, reasons.join('; '))
  byId('ready').hidden = false
  totals()
  sampled()
  table.update(now, byId<HTMLInputElement>('filter').value, byId<HTMLInputElement>('only-held').checked)
  lists.update(now)
}

function badge(id: string, text: string, isGood: boolean, title = ''): void {
  const node = byId(id)
  setText(node, text)
  node.title = title
  node.className = `badge ${isGood ? 'good' : 'bad'}`
}

function totals(): void {
  const { standing, previous, standingAt } = store
  const { totals } = standing!
  const rate = (field: keyof typeof totals) => {
    if (previous === undefined) return '–'
    const seconds = Math.max(0.2, (standingAt - previous.at) / 1_000)
    return short((totals[field] - previous.standing.totals[field]) / seconds)
  }
  const figures: [string, string][] = [
    ['delivered/s', rate('delivered')],
    ['acked/s', rate('acked')],
    ['failed/s', rate('failed')],
    ['commits/s', rate('commits')],
    ['delivered', short(totals.delivered)],
    ['dead letters', short(totals.deadLettered)],
  ]
  const list = byId('totals')
  if (list.childElementCount === 0) {
    for (const [name] of figures) {
      const group = element('div')
      group.append(element('dt', name), element('dd'))
      list.append(group)
    }
  }
  for (const [at, [, value]] of figures.entries()) setText(list.children[at]!.lastElementChild as HTMLElement, value)
}

function sampled(): void {
  const newest = store.sampled.slice(-12)
  const marked = newest.reduce((sum, frame) => sum + frame.shown, 0)
  const all = newest.reduce((sum, frame) => sum + frame.of, 0)
  const node = byId('sampled')
  const isPartly = marked < all
  const missed = store.missed === 0 ? '' : `; ${short(store.missed)} frames skipped because the browser was too slow`
  const part =
    marked === 0
      ? 'no delivery has a mark'
      : `1 of ${(all / marked).toFixed(all / marked < 10 ? 1 : 0)} deliveries has a mark`
  setText(node, `${isPartly ? `Sampled: ${part}; counts are exact` : 'Every record has a mark'}${missed}`)
  node.classList.toggle('partly', isPartly || missed !== '')
}

/** The entries of the legend that have a mark, in the order of a record's life. */
const legend: Readonly<Record<string, string>> = {
  delivered: 'delivered',
  acked: 'acked',
  failed: 'failed',
  retried: 'copied to the retry topic',
  'dead-lettered': 'dead letter',
  discarded: 'discarded',
  assigned: 'assigned',
  revoked: 'revoked',
}

function drawLegend(): void {
  const list = byId('legend')
  if (list.childElementCount === 0) {
    for (const text of [...Object.values(legend), 'committed', 'held back', 'number of deliveries']) {
      const item = element('li')
      const canvas = element('canvas')
      canvas.setAttribute('aria-hidden', 'true')
      item.append(canvas, element('span', text))
      list.append(item)
    }
  }
  const canvases = [...list.querySelectorAll('canvas')]
  const kinds = markKinds.filter(kind => kind in legend)
  for (const [at, canvas] of canvases.entries()) {
    const { width, height, context } = cleared(canvas)
    const kind = kinds.find(each => each === Object.keys(legend)[at])
    if (kind !== undefined) drawMark(context, kind, width / 2, height / 2, 4, colours, height)
    else if (at === kinds.length) {
      context.fillStyle = colours.text
      context.fillRect(width / 2 - 1, height - 8, 2, 8)
    } else if (at === kinds.length + 1) {
      context.strokeStyle = colours.held
      context.lineWidth = 2
      context.setLineDash([5, 4])
      context.beginPath()
      context.moveTo(0, height / 2)
      context.lineTo(width, height / 2)
      context.stroke()
      context.setLineDash([])
    } else {
      context.fillStyle = colours.wash
      context.fillRect(2, 3, width - 4, height - 3)
    }
  }
}

let drawnAt = 0
function draw(): void {
  drawnAt = performance.now()
  table.draw(shownNow(), colours)
}

function tick(): void {
  requestAnimationFrame(tick)
  if (pausedAt !== undefined || isClosed || store.standing === undefined) return
  const every = reduced.matches ? drawReducedEvery : table.visibleRows > 30 ? drawManyRowsEvery : drawEvery
  if (performance.now() - drawnAt >= every - 4) draw()
}

function recolour(): void {
  colours = palette()
  table.drawAxis(colours)
  drawLegend()
  draw()
}

// ── User actions ─────────────────────────────────────────────────────────────────────────────────────────────────────

function pause(): void {
  pausedAt = shownNow()
  prefetch()
  say('The diagrams are paused.')
  paused()
}

function resume(): void {
  pausedAt = undefined
  say('The diagrams are live.')
  paused()
}

function paused(): void {
  const button = byId<HTMLButtonElement>('pause')
  button.setAttribute('aria-pressed', String(pausedAt !== undefined))
  setText(button, pausedAt === undefined ? 'Pause' : `Paused at ${time(pausedAt)}`)
  draw()
  refresh()
}

function prefetch(): void {
  copying.prefetch(pausedAt!, table.selected === undefined ? undefined : table.partition(table.selected))
}

function copy(): void {
  if (pausedAt === undefined) pause()
  prefetch()
  copying.open().catch((error: unknown) => say(`The marble test cannot be shown: ${error}`))
}

byId('pause').addEventListener('click', () => (pausedAt === undefined ? pause() : resume()))
byId('copy').addEventListener('click', copy)
byId('filter').addEventListener('input', refresh)
byId('only-held').addEventListener('change', refresh)
document.addEventListener('keydown', event => {
  const { target, key, ctrlKey, metaKey, altKey } = event
  if (ctrlKey || metaKey || altKey || (target as Element).closest('input, dialog[open]') !== null) return
  if (key === ' ' && (target as Element).closest('button') === null) {
    event.preventDefault()
    byId('pause').click()
  } else if (key === 'c') copy()
  else if (key === '/') {
    event.preventDefault()
    byId('filter').focus()
  } else if (key === 'Escape' && table.selected !== undefined) table.select(undefined)
})
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', recolour)
addEventListener('resize', recolour)

recolour()
refresh()
tick()
