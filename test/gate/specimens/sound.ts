import { expect, it } from 'vitest'

it('has no mistake', async () => {
  await expect(Promise.reject(new Error('planted: caught'))).rejects.toThrow('caught')
})
