import { checkDuration, checkInteger, checkOptions, checkScheduler, invalid, type KnownOptions } from '../../options.js'
import type { MemoryBrokerOptions } from './broker.js'

/** Exported for options that extend these. */
export const knownOfBroker: KnownOptions<MemoryBrokerOptions> = {
  partitions: true,
  latency: true,
  scheduler: true,
  autoCreate: true,
  maxBatchRecords: true,
  maxRecordBytes: true,
  groupProtocol: true,
}

/** @throws ConfigurationError naming the unknown or invalid option, and its value. */
export function checkBrokerOptions(options: MemoryBrokerOptions): void {
  checkOptions('memoryBroker', options, knownOfBroker)
  const { partitions = 1, latency = 0, scheduler, autoCreate = true, maxBatchRecords = 1, maxRecordBytes = 0 } = options
  if (typeof partitions === 'object' && partitions !== null) {
    for (const [topic, count] of Object.entries(partitions)) {
      checkInteger(`memoryBroker: partitions of topic '${topic}'`, count, 1)
    }
  } else checkInteger('memoryBroker: partitions', partitions, 1)
  checkDuration('memoryBroker: latency', latency)
  if (scheduler !== undefined) checkScheduler('memoryBroker: scheduler', scheduler)
  if (typeof autoCreate !== 'boolean') throw invalid('memoryBroker: autoCreate', autoCreate, 'must be a boolean')
  checkInteger('memoryBroker: maxBatchRecords', maxBatchRecords, 1)
  checkInteger('memoryBroker: maxRecordBytes', maxRecordBytes, 0)
  const { groupProtocol = 'classic' } = options
  if (groupProtocol !== 'classic' && groupProtocol !== 'consumer') {
    throw invalid('memoryBroker: groupProtocol', groupProtocol, "must be 'classic' or 'consumer'")
  }
}
