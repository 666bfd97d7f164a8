export { type InspectOptions, type Inspector, inspect } from './inspect.js'
