import { expect, it } from 'vitest'

it('finds nothing', async () => {
  await expect(Promise.reject(new Error('planted: caught'))).rejects.toThrow('caught')
})
