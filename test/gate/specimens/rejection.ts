import { it } from 'vitest'

it('passes, and leaves a rejection that nobody handles', () => {
  Promise.reject(new Error('planted: unhandled rejection'))
})
