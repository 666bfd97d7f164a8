/**
 * Milliseconds of the system's monotonic clock. All processes of this machine share it, so times that different processes
 * wrote can be compared.
 */
export const now = (): number => Number(process.hrtime.bigint() / 1000n) / 1000
