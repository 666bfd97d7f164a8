import { type LevelWithSilent, type Logger, pino } from 'pino'

export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly [field: string]: unknown
}

/** A logger, and the lines it has written. */
export function logged(level: LevelWithSilent): { readonly logger: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = []
  const logger = pino(
    { level, formatters: { level: label => ({ level: label }) } },
    { write: (text: string) => void lines.push(JSON.parse(text)) },
  )
  return { logger, lines }
}
