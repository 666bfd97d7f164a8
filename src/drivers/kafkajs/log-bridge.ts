import { type LogEntry, logLevel } from 'kafkajs'
import type { Level, Logger } from 'pino'

/** kafkajs's log lines, in the client's logger: what is worth a look in production, and the rest at `debug` or `trace`. */
export function logBridge(logger: Logger): () => (entry: LogEntry) => void {
  const kafkajs = logger.child({ module: 'kafkajs' })
  return () => entry => {
    const level = levelOf(entry)
    if (!kafkajs.isLevelEnabled(level)) return
    const { timestamp: _, logger: __, message, ...rest } = entry.log
    kafkajs[level]({ ...rest, namespace: entry.namespace }, message)
  }
}

/** What kafkajs need not even make a log line of. */
export function kafkajsLevel(logger: Logger): logLevel {
  return logger.isLevelEnabled('trace') ? logLevel.DEBUG : logLevel.INFO
}

function levelOf({ level, namespace, log }: LogEntry): Level {
  if (level === logLevel.DEBUG) return 'trace'
  if (level === logLevel.INFO) return log.message === 'Consumer has joined the group' ? 'info' : 'debug'
  // An outage is told once, by this driver; kafkajs tells it at every attempt, as it does rebalances.
  if (namespace === 'Connection' || namespace === 'BrokerPool' || namespace === 'Runner') return 'debug'
  return 'warn'
}
