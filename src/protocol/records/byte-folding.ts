/**
 * Shortens bytes without changing their CRC-32C, ten times as fast as the checksum can be computed.
 *
 * XORing a multiple of the checksum's polynomial onto the bytes does not change the checksum. One multiple with few terms is
 * x^680 + x^122 + x^80 + x^19 + x^3 + 1. Squaring gives a multiple again, so the exponents may be multiplied by eight, which
 * makes them whole bytes. Hence a byte becomes 0 if it is XORed onto the bytes 558, 600, 661, 677 and 680 places after it.
 * Doing that from the first byte on leaves only the last 680 or so. XOR takes 16 bytes per step with SIMD, which JavaScript
 * has through WebAssembly. (The method is Chorba, Russell 2024; the multiple was found by search.)
 */
const PLACES = [558, 600, 661, 677, 680] as const
const REACH = 680

/** The bytes per iteration of the loop: four vectors. */
const TURN = 64
const HISTORY = Math.ceil(REACH / TURN) * TURN
const LARGEST = 128 * 1024

// The memory: zeros before the first byte, the bytes to fold, and the last bytes, onto which they are folded.
const FOLDED_AT = HISTORY
const LAST_AT = FOLDED_AT + LARGEST + HISTORY
const PAGE = 65_536
const PAGES = Math.ceil((LAST_AT + HISTORY + TURN) / PAGE)

/** `fold(at, end, history)` XORs the bytes before each byte onto it; they begin at `history`. */
type Fold = (at: number, end: number, history: number) => void

interface WebAssemblyModules {
  Module: new (bytes: Uint8Array) => object
  Instance: new (
    module: object,
  ) => { readonly exports: { readonly memory: { buffer: ArrayBuffer }; readonly fold: Fold } }
}

export interface ByteFolding {
  /** The maximum number of bytes per call. */
  readonly largest: number
  /**
   * Returns bytes with the same checksum as those from `start` up to `end`, computed from the state 0 instead of `state`. Valid
   * until the next call.
   */
  fold(bytes: Uint8Array, start: number, end: number, state: number): Uint8Array
}

/** Undefined if WebAssembly or its SIMD is missing. */
export function byteFolding(): ByteFolding | undefined {
  const { WebAssembly } = globalThis as { WebAssembly?: WebAssemblyModules }
  try {
    const { memory, fold } = new WebAssembly!.Instance(new WebAssembly!.Module(moduleBytes())).exports
    const all = new Uint8Array(memory.buffer)
    return {
      largest: LARGEST,
      fold(bytes, start, end, state) {
        const turns = Math.floor((end - start - REACH) / TURN)
        const middle = start + turns * TURN
        const foldedEnd = FOLDED_AT + turns * TURN
        const length = end - middle
        all.set(bytes.subarray(start, middle), FOLDED_AT)
        for (let i = 0; i < 4; i++) all[FOLDED_AT + i]! ^= state >>> (8 * i)
        fold(FOLDED_AT, foldedEnd, FOLDED_AT - REACH)
        // The last bytes get what is folded, and nothing is folded from them, so the memory after them must be zeros.
        all.fill(0, foldedEnd, foldedEnd + HISTORY + TURN)
        all.set(bytes.subarray(middle, end), LAST_AT)
        fold(LAST_AT, LAST_AT + length, foldedEnd - REACH)
        return all.subarray(LAST_AT, LAST_AT + length)
      },
    }
  } catch {
    return undefined
  }
}

/** The WebAssembly module in binary format. The constants have the names of the text format. */
function moduleBytes(): Uint8Array {
  const [at, end, history] = [0, 1, 2]
  const [i32, func, none] = [0x7f, 0x60, 0x40]
  const get = (local: number) => [0x20, local]
  const add = (local: number, count: number) => [...get(local), 0x41, ...signed(count), 0x6a, 0x21, local]
  const load = (local: number, offset: number) => [...get(local), 0xfd, 0x00, 0, ...unsigned(offset)]
  const store = (offset: number) => [0xfd, 0x0b, 0, ...unsigned(offset)]
  const xor = [0xfd, 0x51]
  const loop = [0x03, none]
  const loopIfLess = [0x49, 0x0d, 0]
  const stop = 0x0b

  const vectors = [0, 16, 32, 48].flatMap(offset => [
    ...get(at),
    ...load(at, offset),
    ...PLACES.flatMap(place => [...load(history, REACH - place + offset), ...xor]),
    ...store(offset),
  ])
  const next = [...add(at, TURN), ...add(history, TURN)]
  const body = [0, ...loop, ...vectors, ...next, ...get(at), ...get(end), ...loopIfLess, stop, stop]

  const section = (id: number, content: number[]) => [id, ...unsigned(content.length), ...content]
  const name = (text: string) => [text.length, ...Buffer.from(text)]
  return Uint8Array.from([
    ...[0, ...Buffer.from('asm'), 1, 0, 0, 0],
    ...section(1, [1, func, 3, i32, i32, i32, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, PAGES]),
    ...section(7, [2, ...name('memory'), 2, 0, ...name('fold'), 0, 0]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  ])
}

const unsigned = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)])
/** Up to 8191, always in two bytes: as one byte, numbers from 64 on would be negative. */
const signed = (value: number): number[] => [(value & 127) | 128, value >>> 7]
