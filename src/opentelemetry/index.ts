export { type InstrumentOptions, instrument } from './instrument.js'
export type { SpanParent } from './spans.js'
