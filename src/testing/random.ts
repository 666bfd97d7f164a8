/** Numbers that are the same for the same seed, on every machine. */
export class Random {
  #state: number

  /** @param parts What the numbers are for: a seed, and where more than one series is drawn from it, a name. */
  constructor(...parts: readonly (number | string)[]) {
    this.#state = hash(parts.join('\n'))
  }

  /** From 0 to `most`, both included. */
  integer(most: number): number {
    return Math.floor(this.#fraction() * (most + 1))
  }

  /** As `integer`, but 0 half of the time and small more often than large: that is where order is decided. */
  small(most: number): number {
    return this.chance(0.5) ? 0 : Math.min(this.integer(most), this.integer(most))
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

/** FNV-1a, with a last stir: seeds that follow each other are to have nothing in common. */
function hash(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  return hash ^ (hash >>> 13)
}
