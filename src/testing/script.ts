import type { Client } from '../client/client.js'
import { drawDiagram, type Mark, parseDiagram } from './diagram.js'
import type { MarbleHelpers, RecordContent } from './marble-helpers.js'
import type { Fault, PutIn, Schedule, SimulatedTopic } from './schedule.js'

type Helper =
  | 'records'
  | 'start'
  | 'revoke'
  | 'lose'
  | 'kill'
  | 'closeGracefully'
  | 'outage'
  | 'freeze'
  | 'setClock'
  | 'failNext'

/** One call of a marble test's helper. A run makes it, and a test is written from it. */
export interface Line {
  readonly helper: Helper
  readonly args: readonly unknown[]
  /** The last argument; `client` is a number there. */
  readonly options?: { readonly client?: number; readonly [name: string]: unknown }
  /** The fault that it causes, for faults that may have no effect. */
  readonly fault?: Fault
}

/** The helper calls of a schedule, in the order in which a run makes them. */
export function linesOf(schedule: Schedule, topics: ReadonlyMap<string, Required<SimulatedTopic>>): readonly Line[] {
  const records = [...topics].flatMap(([topic, { partitions, contents }]) =>
    recordLines(topic, partitions, contents, schedule.records),
  )
  const starts = schedule.starts
    .filter(({ frame }) => frame > 0)
    .map(({ client, frame }): Line => ({ helper: 'start', args: [drawn(frame, 's')], options: { client } }))
  return [...records, ...starts, ...schedule.faults.map(faultLine)]
}

/** Makes the helper call. */
export function perform({ helper, args, options }: Line, helpers: MarbleHelpers, clients: readonly Client[]): void {
  const call = helpers[helper] as (...args: readonly unknown[]) => void
  if (options === undefined) call(...args)
  else if (options.client === undefined) call(...args, options)
  else call(...args, { ...options, client: clients[options.client] })
}

function recordLines(
  topic: string,
  partitions: number,
  contents: Required<SimulatedTopic>['contents'],
  records: readonly PutIn[],
): Line[] {
  const own = records.filter(record => record.topic === topic)
  const rows = Array.from({ length: partitions }, (_, partition) =>
    writable(
      own.filter(record => record.partition === partition).map(({ letter, frame }) => ({ frame, mark: letter })),
    ),
  )
  const special = own.flatMap(({ letter }): [string, RecordContent][] => {
    const content = contents(letter)
    return content === letter ? [] : [[letter, content]]
  })
  // At least one line, because its diagrams give the topic its partitions.
  const count = Math.max(1, ...rows.map(layers => layers.length))
  return Array.from({ length: count }, (_, layer): Line => {
    const diagrams = rows.map(layers => drawDiagram(layers[layer] ?? []))
    const letters = new Set(rows.flatMap(layers => layers[layer] ?? []).map(({ mark }) => mark))
    const own = special.filter(([letter]) => letters.has(letter))
    return { helper: 'records', args: [topic, diagrams, ...(own.length === 0 ? [] : [Object.fromEntries(own)])] }
  })
}

/** Splits marks into diagrams that can be written: a group takes as many columns as it has characters. */
export function writable(marks: readonly Mark[]): Mark[][] {
  const layers: Mark[][] = []
  for (const mark of marks) {
    const fitting = layers.find(layer => isWritable([...layer, mark]))
    if (fitting === undefined) layers.push([mark])
    else fitting.push(mark)
  }
  return layers
}

function isWritable(marks: readonly Mark[]): boolean {
  const read = parseDiagram(drawDiagram(marks))
  return read.every(({ frame, mark }, at) => frame === marks[at]?.frame && mark === marks[at]?.mark)
}

function faultLine(fault: Fault): Line {
  switch (fault.kind) {
    case 'revoke':
    case 'lose': {
      const diagram = drawn(fault.frame, 'x')
      const diagrams = fault.partition === 0 ? diagram : [...Array<string>(fault.partition).fill(''), diagram]
      return { helper: fault.kind, args: [fault.topic, diagrams], fault }
    }
    case 'kill': {
      const { client, after } = fault
      return { helper: 'kill', args: [drawn(fault.frame, 'x')], options: { client, after }, fault }
    }
    case 'closeGracefully':
      return { helper: 'closeGracefully', args: [drawn(fault.frame, 'x')], options: { client: fault.client }, fault }
    case 'outage':
      return { helper: 'outage', args: [span(fault)], fault }
    case 'freeze': {
      const { client, after } = fault
      return { helper: 'freeze', args: [span(fault)], options: { client, after }, fault }
    }
    case 'setClock': {
      const { client, by } = fault
      return { helper: 'setClock', args: [drawn(fault.frame, 'x'), by], options: { client }, fault }
    }
    default:
      return { helper: 'failNext', args: [fault.kind, drawn(fault.frame, 'x')], fault }
  }
}

function drawn(frame: number, mark: string): string {
  return drawDiagram([{ frame, mark }])
}

function span({ frame, lasts }: { readonly frame: number; readonly lasts: number }): string {
  return `${dashes(frame)}^${dashes(lasts - 1)}!`
}

function dashes(count: number): string {
  return '-'.repeat(count)
}
