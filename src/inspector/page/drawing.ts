import type { MarkKind, StallState } from '../messages.js'
import { type Lane, shownFor } from './store.js'

const names = [
  'line',
  'grid',
  'text',
  'muted',
  'delivered',
  'acked',
  'failed',
  'retried',
  'dead',
  'held',
  'wash',
  'panel',
] as const

/** The colours by purpose. page.css defines them, for light and dark. */
export type Palette = Readonly<Record<(typeof names)[number], string>>

/** Reads the colours. A probe is needed, because a variable with `light-dark(…)` is resolved only where a property uses it. */
export function palette(): Palette {
  const probe = document.createElement('span')
  document.body.append(probe)
  const colours = names.map(name => {
    probe.style.color = `var(--${name})`
    return [name, getComputedStyle(probe).color] as const
  })
  probe.remove()
  return Object.fromEntries(colours) as Palette
}

/** Clears a canvas and matches its resolution to the screen. Returns its size in CSS pixels, and its context. */
export function cleared(canvas: HTMLCanvasElement): {
  readonly width: number
  readonly height: number
  readonly context: CanvasRenderingContext2D
} {
  const { clientWidth: width, clientHeight: height } = canvas
  const ratio = devicePixelRatio
  const [x, y] = [Math.round(width * ratio), Math.round(height * ratio)]
  if (canvas.width !== x || canvas.height !== y) {
    canvas.width = x
    canvas.height = y
  }
  const context = canvas.getContext('2d')!
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  context.clearRect(0, 0, width, height)
  return { width, height, context }
}

const followsFailure: ReadonlySet<MarkKind> = new Set(['retried', 'dead-lettered', 'discarded'] as const)

/** Distance between the right end of the time axis and the right edge of the canvas, px. */
const edge = 6

/** Draws the time axis above the lanes. */
export function drawAxis(canvas: HTMLCanvasElement, colours: Palette): void {
  const { width, height, context } = cleared(canvas)
  context.font = '11px system-ui, sans-serif'
  context.fillStyle = colours.muted
  context.textBaseline = 'middle'
  for (let seconds = 0; seconds <= shownFor / 1_000; seconds += 2) {
    const x = width - edge - (seconds * 1_000 * (width - edge)) / shownFor
    context.textAlign = seconds === 0 ? 'right' : seconds * 1_000 === shownFor ? 'left' : 'center'
    context.fillText(
      seconds === 0 ? 'now' : `−${seconds} s`,
      Math.max(2, x + (seconds === 0 ? edge - 2 : 0)),
      height / 2,
    )
  }
}

export interface Scene {
  readonly colours: Palette
  /** The time at the right end, ms since 1970. */
  readonly now: number
  readonly stall: StallState | undefined
  /** Records below this offset are completed, even if their settlement has no mark. */
  readonly position: number
  readonly heldAfter: number
}

/**
 * Draws one partition: deliveries on the upper line, settlements on the lower line, a curve between the two marks of a
 * record, and commits at the bottom. The marks may be a sample of the deliveries; the shaded background shows their full number.
 */
export function drawLane(
  canvas: HTMLCanvasElement,
  lane: Lane | undefined,
  { colours, now, stall, position, heldAfter }: Scene,
): void {
  const { width, height, context } = cleared(canvas)
  const dense = height < 28
  const [upper, lower] = dense ? [height * 0.32, height * 0.7] : [height * 0.28, height * 0.6]
  const size = dense ? 2.6 : 4
  const x = (at: number) => width - edge - ((now - at) * (width - edge)) / shownFor

  context.lineWidth = 1
  context.strokeStyle = colours.grid
  context.beginPath()
  for (let seconds = 2; seconds < shownFor / 1_000; seconds += 2) {
    const at = Math.round(x(now - seconds * 1_000)) + 0.5
    context.moveTo(at, 0)
    context.lineTo(at, height)
  }
  context.moveTo(width - edge + 0.5, 0)
  context.lineTo(width - edge + 0.5, height)
  context.stroke()

  context.fillStyle = colours.wash
  for (const { at, delivered } of lane?.counts ?? []) {
    // One or two deliveries need no shade: their marks show them.
    if (delivered < 3 || at > now + 250) continue
    const tall = Math.min(1, Math.log10(1 + delivered) / 3) * (height - 2)
    const [from, to] = [x(at - 250), Math.min(x(at), width - edge)]
    if (to > from) context.fillRect(from, height - 1 - tall, to - from, tall)
  }

  if (stall !== undefined && stall.why !== 'not-due' && now - stall.since >= heldAfter) {
    const from = Math.max(0, x(stall.since))
    context.strokeStyle = colours.held
    context.lineWidth = 2
    context.setLineDash([5, 4])
    context.beginPath()
    context.moveTo(from, lower)
    context.lineTo(width - edge, lower)
    context.stroke()
    context.setLineDash([])
    context.beginPath()
    context.moveTo(width - edge - 1, lower - size - 1)
    context.lineTo(width - edge - 1, lower + size + 1)
    context.stroke()
  }

  const marks = lane?.marks ?? []
  const delivered = new Map<number, number>()
  context.lineWidth = 1
  context.globalAlpha = dense ? 0.45 : 0.6
  for (const { kind, at, offset } of marks) {
    if (kind === 'delivered') delivered.set(offset, at)
    else if (kind === 'acked' || kind === 'failed') {
      const from = delivered.get(offset)
      if (from === undefined) continue
      delivered.delete(offset)
      if (at > now) {
        delivered.set(offset, from)
        continue
      }
      curve(context, x(from), upper, x(at), lower, kind === 'acked' ? colours.acked : colours.failed)
    }
  }
  // Records in flight: a line from the delivery to the right end.
  context.strokeStyle = colours.delivered
  context.beginPath()
  for (const [offset, at] of delivered) {
    if (at > now || offset < position) continue
    context.moveTo(x(at), upper)
    context.lineTo(width - edge, upper)
  }
  context.stroke()
  context.globalAlpha = 1

  let labelled = Number.NEGATIVE_INFINITY
  const failed = new Map<number, number>()
  for (const { kind, at, offset, attempt } of marks) {
    if (at > now) continue
    const cx = x(at)
    if (cx < -20) continue
    if (kind === 'committed') {
      context.strokeStyle = colours.text
      context.lineWidth = 1.5
      context.beginPath()
      context.moveTo(cx, height)
      context.lineTo(cx, height - (dense ? 4 : 6))
      context.stroke()
      const text = String(offset)
      if (!dense && cx - labelled > 18 + text.length * 6) {
        context.font = '9.5px system-ui, sans-serif'
        context.fillStyle = colours.muted
        context.textAlign = 'left'
        context.textBaseline = 'alphabetic'
        context.fillText(text, cx + 3, height - 0.5)
        labelled = cx
      }
      continue
    }
    if (kind === 'failed') failed.set(offset, cx)
    // A retry or dead letter follows its failure at once. It is drawn beside the failure, so that both are visible.
    const beside = followsFailure.has(kind) ? Math.max(cx, (failed.get(offset) ?? -size) + 2.4 * size) : cx
    drawMark(context, kind, beside, kind === 'delivered' ? upper : lower, size, colours, height)
    if (kind === 'delivered' && attempt > 1 && !dense) {
      context.font = '600 8px system-ui, sans-serif'
      context.fillStyle = colours.delivered
      context.textAlign = 'center'
      context.textBaseline = 'middle'
      context.fillText(String(attempt), cx, upper + 0.5)
    }
  }
}

function curve(
  context: CanvasRenderingContext2D,
  x1: number,
  y1: number,
  x2: number,
  y2: number,
  colour: string,
): void {
  context.strokeStyle = colour
  context.beginPath()
  context.moveTo(x1, y1)
  const bend = Math.min(14, (x2 - x1) / 2)
  if (x2 - x1 > 28) {
    context.lineTo(x2 - 2 * bend, y1)
    context.bezierCurveTo(x2 - bend, y1, x2 - bend, y2, x2, y2)
  } else context.bezierCurveTo(x1 + bend, y1, x2 - bend, y2, x2, y2)
  context.stroke()
}

/** Draws one mark. Kinds differ by shape, not only by colour. */
export function drawMark(
  context: CanvasRenderingContext2D,
  kind: MarkKind,
  x: number,
  y: number,
  size: number,
  colours: Palette,
  height: number,
): void {
  context.lineWidth = size > 3 ? 1.75 : 1.25
  context.beginPath()
  switch (kind) {
    case 'delivered':
      context.strokeStyle = colours.delivered
      context.fillStyle = colours.panel
      context.arc(x, y, size, 0, 2 * Math.PI)
      context.fill()
      return context.stroke()
    case 'acked':
      context.fillStyle = colours.acked
      context.arc(x, y, size, 0, 2 * Math.PI)
      return context.fill()
    case 'failed':
    case 'leaked':
      context.strokeStyle = colours.failed
      context.moveTo(x - size, y - size)
      context.lineTo(x + size, y + size)
      context.moveTo(x + size, y - size)
      context.lineTo(x - size, y + size)
      return context.stroke()
    case 'retried':
      context.fillStyle = colours.retried
      context.moveTo(x, y - size - 1)
      context.lineTo(x + size + 1, y + size)
      context.lineTo(x - size - 1, y + size)
      return context.fill()
    case 'dead-lettered':
    case 'discarded': {
      context.fillStyle = context.strokeStyle = colours.dead
      const wide = size + 1.5
      context.moveTo(x, y - wide)
      context.lineTo(x + wide, y)
      context.lineTo(x, y + wide)
      context.lineTo(x - wide, y)
      context.closePath()
      return kind === 'discarded' ? context.stroke() : context.fill()
    }
    default: {
      // Assigned, revoked or lost: a bracket over the whole height. It opens towards the time when the partition was assigned.
      const foot = kind === 'assigned' ? size + 1 : -size - 1
      context.strokeStyle = kind === 'lost' ? colours.failed : colours.muted
      context.moveTo(x + foot, 1)
      context.lineTo(x, 1)
      context.lineTo(x, height - 1)
      context.lineTo(x + foot, height - 1)
      return context.stroke()
    }
  }
}
