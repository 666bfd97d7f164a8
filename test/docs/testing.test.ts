import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as rxjs from 'rxjs'
import * as rxmika from 'rxmika'
import * as testing from 'rxmika/testing'
import { describe, expect, it, vi } from 'vitest'
import { codeBlocks, runBlock } from './code-blocks'

const blocks = codeBlocks('docs/testing.md')
const titles = blocks.map(
  code => /it\('(.*)'/.exec(code)?.[1] ?? code.split('\n').find(line => line.startsWith('run'))!,
)

describe('docs/testing.md', () => {
  it.each(blocks.map((code, at) => [at + 1, titles[at]!, code] as const))('runs: block %i, %s', async (_, __, code) => {
    const [tests, before, after]: (() => unknown)[][] = [[], [], []]
    const runMarbles = vi.fn(testing.runMarbles)
    const vitest = {
      expect,
      vi,
      it: (_: string, test: () => unknown) => tests!.push(test),
      beforeEach: (hook: () => unknown) => before!.push(hook),
      afterEach: (hook: () => unknown) => after!.push(hook),
    }
    runBlock(code, { rxjs, rxmika, 'rxmika/testing': { ...testing, runMarbles }, vitest })
    for (const step of [...before!, ...tests!, ...after!]) await step()
    expect(tests!.length + runMarbles.mock.calls.length).toBeGreaterThan(0)
  })

  it('shows the diagram that its example prints', () => {
    const text = readFileSync(join(fileURLToPath(new URL('../..', import.meta.url)), 'docs/testing.md'), 'utf8')
    const example = blocks.find(code => code.includes("ack('"))!
    const wrong = example.replace('---------2--', '-----1---2--')
    expect(wrong).not.toBe(example)
    let message = ''
    try {
      runBlock(wrong, { 'rxmika/testing': testing })
    } catch (error) {
      message = (error as Error).message
    }
    expect(message).toMatch('expected 1')
    expect(text).toContain(`\`\`\`\n${message}\n\`\`\``)
  })
})
