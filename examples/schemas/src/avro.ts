/**
 * A decoder for Avro with a schema registry (Confluent's wire format), for `decode` or the option of a topic.
 *
 *     client.topic('orders', { retries: 10, backoff: exponential({ initial: 1_000, max: 60_000 }), dlq: true,
 *       decode: avro<Order>('http://registry:8081'), tombstones: 'ack' })
 *
 * Where the registry is away the promise is rejected, and the record is tried again like any failure. What the registry or
 * the bytes say for good is a `DecodeError`: no retry would change it.
 */
import avsc, { type Type } from 'avsc'
import { DecodeError } from 'rxmika'

export function avro<T>(registry: string): (bytes: Buffer) => T | Promise<T> {
  const types = new Map<number, Type>()
  const loading = new Map<number, Promise<Type>>()

  async function load(id: number): Promise<Type> {
    const response = await fetch(`${registry}/schemas/ids/${id}`, { signal: AbortSignal.timeout(5_000) })
    if (response.status === 404) throw new DecodeError(`the schema registry has no schema ${id}`)
    if (!response.ok) throw new Error(`the schema registry answered ${response.status}`)
    const { schema } = (await response.json()) as { readonly schema: string }
    const type = avsc.Type.forSchema(JSON.parse(schema))
    types.set(id, type)
    return type
  }

  /** One request for all records that wait for a schema; one that failed is made again for the next record. */
  function typeOf(id: number): Promise<Type> {
    let type = loading.get(id)
    if (type === undefined) {
      type = load(id).finally(() => loading.delete(id))
      loading.set(id, type)
    }
    return type
  }

  return bytes => {
    // A zero byte, the schema's id in four, and the value.
    if (bytes.length < 5 || bytes[0] !== 0)
      throw new TypeError('the value is not in the wire format of a schema registry')
    const id = bytes.readUInt32BE(1)
    const value = (type: Type): T => {
      try {
        return type.fromBuffer(bytes.subarray(5)) as T
      } catch (cause) {
        throw new DecodeError(`the value does not match schema ${id}`, { cause })
      }
    }
    const known = types.get(id)
    return known === undefined ? typeOf(id).then(value) : value(known)
  }
}
