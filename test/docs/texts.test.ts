import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const texts = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'examples/README.md',
  ...readdirSync(join(root, 'docs'))
    .filter(name => name.endsWith('.md'))
    .map(name => `docs/${name}`),
]
const read = (file: string) => readFileSync(join(root, file), 'utf8')

describe('the documentation', () => {
  it.each(texts)('has no dead link: %s', file => {
    for (const [, target] of read(file).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue
      const [path, anchor] = target!.split('#') as [string, string?]
      const linked = path === '' ? file : relative(root, join(root, dirname(file), path))
      expect(existsSync(join(root, linked)), `${target} in ${file}`).toBe(true)
      if (anchor !== undefined) expect(anchors(read(linked)), `${target} in ${file}`).toContain(anchor)
    }
  })

  it('quotes only titles of existing tests', () => {
    // A link to a test file, and the titles in quotes after it, up to the next link.
    const linked = read('docs/guarantees.md').split('](../test/').slice(1)
    const quoted = linked.flatMap(text => {
      const [file, rest] = [`test/${text.slice(0, text.indexOf(')'))}`, text.slice(text.indexOf(')'))]
      return [...rest.matchAll(/“([^”]+)”/g)].map(([, title]) => [file, title!.replace(/\s+/g, ' ')] as const)
    })
    expect(quoted.length).toBeGreaterThan(30)
    for (const [file, title] of quoted) expect(read(file), file).toContain(title)
  })

  it('has no test that compares a text with a regular expression in toMatchObject, which any text would match', () => {
    const files = readdirSync(join(root, 'test'), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
      .map(({ parentPath, name }) => relative(root, join(parentPath, name)))
    const vacuous = files.filter(file => /\b(message|msg|reason|cause|name|code|line): \/[^/*]/.test(read(file)))
    expect(vacuous).toEqual([])
  })

  it('maps every source file, and no others', () => {
    const map = read('docs/architecture.md').split('## Every file')[1]!.split('\n## ')[0]!
    const mapped = map
      .split('\n### ')
      .slice(1)
      .flatMap(section => {
        const folder = /`(.+)\/`/.exec(section)![1]!
        const rows = section.split('\n').filter(line => line.startsWith('| `'))
        return rows.flatMap(row =>
          [...row.split('|')[1]!.matchAll(/`([^`]+)`/g)].map(([, name]) => `${folder}/${name}`),
        )
      })
    const sources = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(({ parentPath, name }) => relative(root, join(parentPath, name)))
    expect(mapped.sort()).toEqual(sources.sort())
  })
})

/** GitHub's names for the headings. */
function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
