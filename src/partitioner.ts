const seed = 0x9747b28c
const m = 0x5bd1e995

/** The hash with which Java's client, and kafkajs's default partitioner, choose a key's partition. */
export function murmur2(data: Uint8Array): number {
  const length = data.length
  let h = seed ^ length
  let at = 0
  for (; at + 4 <= length; at += 4) {
    let k = data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24)
    k = Math.imul(k, m)
    k ^= k >>> 24
    h = Math.imul(h, m) ^ Math.imul(k, m)
  }
  if (at < length) {
    for (let rest = length - 1; rest >= at; rest--) h ^= data[rest]! << (8 * (rest - at))
    h = Math.imul(h, m)
  }
  h ^= h >>> 13
  h = Math.imul(h, m)
  return h ^ (h >>> 15)
}

export function partitionOfKey(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions
}
