import type { Driver } from '../../driver.js'
import { KafkaDriver } from '../kafka/driver.js'
import type { KafkajsOptions } from './connection.js'

export type { Codecs, KafkajsOptions } from './connection.js'

/** The connection to real brokers, by way of kafkajs. One driver serves one client. */
export function kafkajsDriver(options: KafkajsOptions): Driver {
  return new KafkaDriver(options as never)
}
