import type { Logger } from 'pino'
import { readable } from '../readable.js'

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

/**
 * Returns the same logger with methods that never throw.
 *
 * pino throws where its destination is gone, or where an error cannot be read: a record may fail with any value, a proxy for
 * example, which becomes the cause of an error. A client logs in the middle of its work, such as closing, which would then
 * never end. A line that cannot be read is logged as far as it can be; one without a destination is lost.
 */
export function unfailing(logger: Logger): Logger {
  const methods: Record<string, unknown> = {
    isLevelEnabled: (level: string) => logger.isLevelEnabled(level),
    child: logger.child.bind(logger),
  }
  for (const level of levels) methods[level] = (...line: readonly unknown[]) => write(logger, level, line)
  return Object.assign(Object.create(logger) as Logger, methods)
}

function write(logger: Logger, level: (typeof levels)[number], line: readonly unknown[]): void {
  const log = (args: readonly unknown[]) => (logger[level] as (...args: readonly unknown[]) => void)(...args)
  try {
    log(line)
  } catch {
    try {
      log(line.map(part => readable(part)))
    } catch {
      // The destination is gone.
    }
  }
}
