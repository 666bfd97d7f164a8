import { TestScheduler } from 'rxjs/testing'

/** Something that happened, as a diagram shows it. */
export interface Mark {
  /** When, in frames of 1 ms from the beginning. */
  readonly frame: number
  /** One character: a letter or digit, `|` for a completion, `#` for an error. */
  readonly mark: string
}

/** Parses RxJS's syntax as in `TestScheduler.run`: a column is a frame, and spaces do not count. */
class Syntax extends TestScheduler {
  static override frameTimeFactor = 1
}

/** Parses a marble diagram in RxJS's syntax: `-` is a frame, `a` a mark, `(ab)` marks of one frame, ` 20ms ` time. */
export function parseDiagram(marbles: string): Mark[] {
  return Syntax.parseMarbles(marbles, undefined, undefined, false, true).map(({ frame, notification }) => ({
    frame,
    mark: notification.kind === 'N' ? String(notification.value) : notification.kind === 'C' ? '|' : '#',
  }))
}

/** Parses a diagram with values for its letters, as `toBe` of RxJS's `TestScheduler` takes them. */
export function parseValues(
  marbles: string,
  values?: unknown,
  error?: unknown,
): ReturnType<typeof TestScheduler.parseMarbles> {
  return Syntax.parseMarbles(marbles, values, error, true, true)
}

/** Parses `--^---!` as a start and an end; without `!` there is no end. Undefined if there is no `^`. */
export function parseSpan(marbles: string): { readonly from: number; readonly to: number } | undefined {
  const { subscribedFrame, unsubscribedFrame } = Syntax.parseMarblesAsSubscriptions(marbles, true)
  return subscribedFrame === Number.POSITIVE_INFINITY ? undefined : { from: subscribedFrame, to: unsubscribedFrame }
}

/** The frame at which a diagram ends, its last dash included. */
export function endOf(marbles: string): number {
  // `^` and `!` take a frame each, like any other mark. The mark appended here is at the end.
  const marks = Syntax.parseMarbles(`${marbles.replace(/[\^!]/g, '-')}|`, undefined, undefined, false, true)
  return marks[marks.length - 1]!.frame
}

/** Longer gaps are written as a duration. */
const longestGap = 20

/**
 * Draws rows of marks as diagrams with common columns: what happened in one frame is in one column, in every row. Marks of
 * one frame are grouped in the order given.
 *
 * {@link parseDiagram} can parse each diagram, with one exception that RxJS has as well: a group takes as many frames as it
 * has characters, so a mark that follows it sooner cannot be written. Such a mark is drawn all the same, with the other rows
 * padded by spaces.
 */
export function drawDiagrams(rows: readonly (readonly Mark[])[]): string[] {
  const cells = rows.map(cellsByFrame)
  const frames = [...new Set(rows.flatMap(row => row.map(({ frame }) => frame)))].sort((one, other) => one - other)
  const drawn = rows.map(() => '')
  let at = 0
  frames.forEach((frame, index) => {
    const gap = frame - at
    for (const row of drawn.keys()) drawn[row] += stretch(gap, at === 0)
    const texts = cells.map(row => row.get(frame) ?? '-')
    const width = Math.max(...texts.map(text => text.length))
    const crowded = (frames[index + 1] ?? Number.POSITIVE_INFINITY) < frame + width
    texts.forEach((text, row) => {
      drawn[row] += text.padEnd(width, crowded ? ' ' : '-')
    })
    at = frame + (crowded ? 1 : width)
  })
  return drawn
}

/** Draws a single diagram; empty if there are no marks. */
export function drawDiagram(marks: readonly Mark[]): string {
  return drawDiagrams([marks])[0]!.trim()
}

function cellsByFrame(row: readonly Mark[]): Map<number, string> {
  const marks = new Map<number, string>()
  for (const { frame, mark } of row) marks.set(frame, (marks.get(frame) ?? '') + mark)
  return new Map([...marks].map(([frame, text]) => [frame, [...text].length === 1 ? text : `(${text})`]))
}

function stretch(frames: number, isFirst: boolean): string {
  if (frames <= 0) return ''
  if (frames <= longestGap && Number.isInteger(frames)) return '-'.repeat(frames)
  return `${isFirst ? '' : ' '}${duration(frames)} `
}

function duration(frames: number): string {
  if (frames % 60_000 === 0) return `${frames / 60_000}m`
  return frames % 1_000 === 0 ? `${frames / 1_000}s` : `${frames}ms`
}
