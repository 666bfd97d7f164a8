/** Colours a text, or returns it unchanged. */
export type Paint = (text: string) => string

interface Mark {
  readonly row: Row
  /** ms. */
  readonly at: number
  readonly text: string
  readonly paint: Paint
}

interface Row {
  readonly label: string
  /** The character between the marks. */
  readonly line: string
}

interface Layout {
  readonly columns: ReadonlyMap<Mark, number>
  readonly width: number
}

/**
 * Rows of marks over one time axis. Marks of the same time share a column, and no mark is left of an earlier one. Within these
 * rules, and as far as the width allows, distances are proportional to time.
 */
export class MarbleDiagram {
  readonly #rows = new Map<string, Row>()
  readonly #marks: Mark[] = []

  /** Adds a row; they are drawn in this order. */
  row(name: string, label: string, line: string): void {
    this.#rows.set(name, { label, line })
  }

  mark(name: string, at: number, text: string, paint: Paint): void {
    const row = this.#rows.get(name)
    if (row !== undefined) this.#marks.push({ row, at, text, paint })
  }

  /**
   * @param width The width of the whole diagram, labels included, in columns.
   * @param dim Colours labels and lines.
   */
  render(width: number, dim: Paint): string[] {
    const rows = [...this.#rows.values()]
    const labels = Math.max(...rows.map(({ label }) => label.length)) + 2
    const { columns } = widest(moments(this.#marks), width - labels)
    return rows.map(row => {
      let drawn = dim(row.label.padEnd(labels))
      let end = 0
      for (const mark of this.#marks) {
        if (mark.row !== row) continue
        const column = columns.get(mark)!
        drawn += dim(row.line.repeat(column - end)) + mark.paint(mark.text)
        end = column + mark.text.length
      }
      return drawn
    })
  }
}

/** The marks grouped by time, earliest first. */
function moments(marks: readonly Mark[]): readonly (readonly Mark[])[] {
  const byTime = new Map<number, Mark[]>()
  for (const mark of marks) byTime.set(mark.at, [...(byTime.get(mark.at) ?? []), mark])
  return [...byTime].sort(([one], [other]) => one - other).map(([, moment]) => moment)
}

/** The layout with the largest scale that fits into the width. */
function widest(moments: readonly (readonly Mark[])[], width: number): Layout {
  let best = layOut(moments, 0)
  let [fits, tooWide] = [0, width]
  for (let tries = 0; tries < 40; tries++) {
    const scale = (fits + tooWide) / 2
    const layout = layOut(moments, scale)
    if (layout.width > width) tooWide = scale
    else [fits, best] = [scale, layout]
  }
  return best
}

/** @param scale Columns per ms. */
function layOut(moments: readonly (readonly Mark[])[], scale: number): Layout {
  const began = moments[0]?.[0]?.at ?? 0
  const columns = new Map<Mark, number>()
  const free = new Map<Row, number>()
  let column = 0
  let width = 0
  for (const moment of moments) {
    const room = Math.max(...moment.map(({ row }) => free.get(row) ?? 0))
    column = Math.max(column, room, 1 + Math.round((moment[0]!.at - began) * scale))
    for (const mark of moment) {
      const end = column + mark.text.length
      columns.set(mark, column)
      free.set(mark.row, end + 1)
      width = Math.max(width, end)
    }
  }
  return { columns, width }
}
