import type { Driver } from '../../driver.js'
import { KafkaDriver, type KafkaOptions } from './driver.js'

export type { KafkaOptions } from './driver.js'

/** The connection to real brokers. One driver serves one client. */
export function kafkaDriver(options: KafkaOptions): Driver {
  return new KafkaDriver(options)
}
