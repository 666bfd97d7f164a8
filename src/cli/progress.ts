import { Presets, SingleBar } from 'cli-progress'

/** How far long work is, on stderr and only on a terminal. */
export interface Progress {
  /** @param total Undefined: not known, and only counted. */
  begin(what: string, total?: number): void
  at(count: number): void
  end(): void
}

export function progressOf(stream: NodeJS.WriteStream, json: boolean): Progress {
  if (json || !stream.isTTY) return { begin: () => {}, at: () => {}, end: () => {} }
  let bar: SingleBar | undefined
  return {
    begin(what, total) {
      const format = total === undefined ? `${what}: {value}` : `${what} {bar} {value}/{total}`
      bar = new SingleBar({ format, stream, hideCursor: true, clearOnComplete: true, barsize: 30 }, Presets.legacy)
      bar.start(total ?? 0, 0)
    },
    at: count => bar?.update(count),
    end: () => bar?.stop(),
  }
}
