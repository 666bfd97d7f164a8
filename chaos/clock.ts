/**
 * Milliseconds on a clock that all processes of this machine share, and that nobody sets: what one process wrote before
 * another has the smaller time.
 */
export const now = (): number => Number(process.hrtime.bigint() / 1000n) / 1000
