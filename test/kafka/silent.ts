import { pino } from 'pino'

/** A logger for drivers, which need one. */
export const silent = pino({ level: 'silent' })
