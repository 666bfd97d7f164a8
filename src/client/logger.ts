import { type Level, type Logger, pino } from 'pino'
import { invalid } from '../options.js'
import { unfailing } from './unfailing-logger.js'

/**
 * Takes log lines in the place of pino: `logger: (level, message, fields) => winston.log(level, message, fields)`.
 *
 * Called for lines at `info` and above. For `debug`, which has a line per record, set a pino logger of that level. If it
 * throws, the exception is rethrown as an uncaught one, and nothing changes in the client.
 *
 * @param level 'info', 'warn', 'error' or 'fatal'.
 * @param fields What the line is about, such as `topic` and `partition`; `err` is the error itself. Never a password.
 */
export type LogFunction = (level: Level, message: string, fields: Readonly<Record<string, unknown>>) => void

/** @throws ConfigurationError */
export function configureLogger(option: Logger | LogFunction | false | undefined): Logger {
  if (option === undefined) return unfailing(pino({ name: 'rxmika', level: 'info' }))
  if (option === false) return pino({ level: 'silent' })
  if (typeof option === 'function') return callingLogger(option)
  if (typeof option?.child !== 'function') throw invalid('logger', option, 'must be a pino logger, a function or false')
  return unfailing(option)
}

/** A pino logger whose lines go to the function instead of a stream: its levels and children are pino's. */
function callingLogger(log: LogFunction): Logger {
  const hooks: NonNullable<pino.LoggerOptions['hooks']> = {
    logMethod(line, _method, level) {
      const [first, ...rest] = line as unknown as [unknown, ...unknown[]]
      const fields = typeof first === 'object' && first !== null ? first : undefined
      const message = fields === undefined ? first : rest[0]
      try {
        log(pino.levels.labels[level] as Level, String(message ?? ''), { ...this.bindings(), ...fields })
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    },
  }
  return pino({ base: null, level: 'info', hooks }, { write() {} })
}
