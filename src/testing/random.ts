/** Random numbers that depend only on the seed, on every machine. */
export class Random {
  #state: number

  /** @param parts A seed, and a name if several series are drawn from it. */
  constructor(...parts: readonly (number | string)[]) {
    this.#state = hash(parts.join('\n'))
  }

  /** From 0 to `max`, both included. */
  integer(max: number): number {
    return Math.floor(this.#fraction() * (max + 1))
  }

  /** As `integer`, but 0 in half of the cases, and small numbers more often: these decide the order of events. */
  small(max: number): number {
    return this.chance(0.5) ? 0 : Math.min(this.integer(max), this.integer(max))
  }

  chance(of: number): boolean {
    return this.#fraction() < of
  }

  /** Mulberry32. */
  #fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** FNV-1a with a final mix, so that consecutive seeds give unrelated numbers. */
function hash(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  return hash ^ (hash >>> 13)
}
