/**
 * A decoder for Avro with a schema registry (Confluent's wire format), for `decode` or the option of a topic.
 *
 *     client.topic('orders', { retries: 10, backoff: exponential({ initial: 1_000, max: 60_000 }), dlq: true,
 *       decode: avro<Order>('http://registry:8081'), tombstones: 'ack' })
 *
 * If the registry does not answer, the promise rejects, and the record is retried like any failure. If the registry does not have
 * the schema, or the bytes do not match it, the record fails with a `DecodeError` and is not retried.
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

  /** One request for all records that wait for a schema. After a failure, the next record makes a new request. */
  function typeOf(id: number): Promise<Type> {
    let type = loading.get(id)
    if (type === undefined) {
      type = load(id).finally(() => loading.delete(id))
      loading.set(id, type)
    }
    return type
  }

  return bytes => {
    // The wire format: a zero byte, the schema's id in four bytes, and the value.
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
