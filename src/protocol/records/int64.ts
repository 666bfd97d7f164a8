/** As a number: exact up to 2^53 - 1 on both sides of 0, the nearest number beyond. */
export const readInt64 = (bytes: Buffer, at: number): number =>
  bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4)
