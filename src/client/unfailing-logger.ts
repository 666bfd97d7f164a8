import type { Logger } from 'pino'
import { readable } from '../readable.js'

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

/**
 * Returns the same logger with methods that never throw.
 *
 * pino throws if its destination is closed, or if it cannot serialize an error: a record may fail with any value, such as a
 * proxy, which becomes the `cause` of an error. The client logs in the middle of its work: an exception there could keep a close
 * from ending, for example. A line that cannot be serialized is logged as far as it is readable. A line without a destination
 * is lost.
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
      // The destination is closed.
    }
  }
}
