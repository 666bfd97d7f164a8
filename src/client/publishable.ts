import { headerPairs, type PublishRecord } from '../publish.js'
import { invalid, wholeNumber } from './config.js'

/** @throws ConfigurationError naming what of the record cannot be written. */
export function checkPublishable(record: PublishRecord): void {
  const { topic, key, value, partition, timestamp } = record
  const isBytes = (bytes: unknown) => bytes === null || typeof bytes === 'string' || Buffer.isBuffer(bytes)
  if (!isBytes(value)) throw invalid(`publish to ${topic}: value`, value, 'is a Buffer, a text or null')
  if (key !== undefined && !isBytes(key)) throw invalid(`publish to ${topic}: key`, key, 'is a Buffer, a text or null')
  if (partition !== undefined) wholeNumber(`publish to ${topic}: partition`, partition, 0, 0)
  if (timestamp !== undefined) wholeNumber(`publish to ${topic}: timestamp`, timestamp, 0, 0)
  for (const [name, header] of headerPairs(record.headers)) {
    if (!isBytes(header)) throw invalid(`publish to ${topic}: header '${name}'`, header, 'is a Buffer, a text or null')
  }
}
