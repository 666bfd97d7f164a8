import { describe, expect, it } from 'vitest'
import { Example } from './run-example'

describe('a service that gets SIGTERM', () => {
  const service = (env: Readonly<Record<string, string>>) => new Example('graceful-shutdown', env)
  /** The orders in the lines that begin with this text. */
  const orders = ({ lines }: Example, what: string) =>
    lines.filter(line => line.startsWith(`${what} order`)).map(line => line.slice(what.length + 1))

  it('finishes records in flight, accepts no new ones, and prints a report', async () => {
    const example = service({ WORK_MS: '200' })
    await example.printed(/^charged/, 5)
    example.kill('SIGTERM')
    expect(await example.exitCode(), example.output).toBe(0)

    expect(example.output).toMatch(/^closed, drained: true, unsettled: 0$/m)
    expect(orders(example, 'charged').sort()).toEqual(orders(example, 'charging').sort())
    const told = example.lines.findIndex(line => line.startsWith('SIGTERM'))
    expect(example.lines.slice(told + 1).filter(line => line.startsWith('charging'))).toEqual([])
    expect(example.lines.slice(told + 1).filter(line => line.startsWith('charged'))).not.toEqual([])
  })

  it('gives up at the timeout, and prints the number of unsettled records', async () => {
    const example = service({ WORK_MS: '60000', CLOSE_TIMEOUT_MS: '300' })
    await example.printed(/^charging/, 5)
    example.kill('SIGTERM')
    expect(await example.exitCode(), example.output).toBe(1)

    const unsettled = orders(example, 'charging').length
    expect(orders(example, 'charged')).toEqual([])
    expect(example.output).toMatch(new RegExp(`^closed, drained: false, unsettled: ${unsettled}$`, 'm'))
  })
})
