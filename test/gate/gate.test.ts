import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify, stripVTControlCharacters } from 'node:util'
import { ESLint, type Linter } from 'eslint'
import { describe, expect, it } from 'vitest'
import vitestConfig from '../../vitest.config'

// The checks of the project must fail on mistakes. These tests plant mistakes, and expect that the checks detect them.

const root = fileURLToPath(new URL('../..', import.meta.url))
const specimens = fileURLToPath(new URL('specimens', import.meta.url))
const run = promisify(execFile)

/** Runs specimens as the suites of a project. */
async function suites(project: string, names: readonly string[]): Promise<{ failed: boolean; output: string }> {
  const files = names.map(name => `test/gate/specimens/${name}.ts`)
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/gate/specimens.config.ts']
  const args = [...vitest, '--project', project, ...files]
  try {
    const { stdout, stderr } = await run(process.execPath, args, { cwd: root })
    return { failed: false, output: stripVTControlCharacters(stdout + stderr) }
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    return { failed: true, output: stripVTControlCharacters(stdout + stderr) }
  }
}

const projects = (vitestConfig.test!.projects as { test: { name: string } }[]).map(({ test }) => test.name)

describe.each(projects)('a suite of the project %s', { timeout: 120_000 }, project => {
  it('passes without a mistake', async () => {
    const { failed, output } = await suites(project, ['sound'])
    expect(failed, output).toBe(false)
    expect(output).toMatch(/Tests +1 passed/)
  })

  it.each([
    ['rejection', 'planted: unhandled rejection'],
    ['exception', 'planted: uncaught exception'],
    ['warning', 'MaxListenersExceededWarning'],
    ['child-warning', 'planted: a warning in a child'],
  ])('fails by a %s that its tests do not notice', async (specimen, reported) => {
    const { failed, output } = await suites(project, [specimen])
    expect(output).toContain(reported)
    expect(failed, output).toBe(true)
  })
})

it('no suite lets unhandled errors pass', () => {
  expect(vitestConfig.test!.dangerouslyIgnoreUnhandledErrors).toBe(false)
})

it('the typed lint rules find exactly the unhandled promises of the specimen', async () => {
  const file = `${specimens}/floating-promises.ts`
  const { default: eslintConfig } = await import(new URL('../../eslint.config.mjs', import.meta.url).href)
  const lint = new ESLint({
    cwd: root,
    overrideConfigFile: true,
    overrideConfig: (eslintConfig as Linter.Config[]).map(config => ({ ...config, ignores: [] })),
  })
  const [result] = await lint.lintFiles([file])
  const found = result!.messages.map(({ line, ruleId }) => `${line} ${ruleId?.split('/')[1]}`)
  const marked = readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((text, at) => (/\/\/ (no-\S+)$/.exec(text) ?? []).slice(1).map(rule => `${at + 1} ${rule}`))
  expect(marked).toHaveLength(5)
  expect(found).toEqual(marked)
}, 120_000)
