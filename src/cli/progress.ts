import { Presets, SingleBar } from 'cli-progress'

/** A progress bar on stderr, if that is a terminal. */
export interface Progress {
  /** @param total If it is not known, the bar only counts. */
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
