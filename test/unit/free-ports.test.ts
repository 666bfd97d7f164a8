import { describe, expect, it, vi } from 'vitest'

/** The module as another process has it. */
async function anotherProcess(): Promise<typeof import('../kafka/free-ports')> {
  vi.resetModules()
  return await import('../kafka/free-ports')
}

describe('ports for the servers of tests', () => {
  it('are given out once, although the servers do not listen yet', async () => {
    const [one, other] = [await anotherProcess(), await anotherProcess()]
    const asked = [one, other, one, other].map(({ freePorts }) => freePorts(60))
    const ports = (await Promise.all(asked)).flat()
    expect(new Set(ports).size).toBe(240)
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(20_000)
    expect(Math.max(...ports)).toBeLessThan(32_000)
  })
})
