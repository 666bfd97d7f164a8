import { it } from 'vitest'

it('passes, but leaves an unhandled rejection', () => {
  Promise.reject(new Error('planted: unhandled rejection'))
})
