// Copies the texts into site/pages, under the paths that they have in the repository. Pages must be inside this folder, because VitePress
// turns them into code that imports Vue, which is installed only here.
import { cp, rm } from 'node:fs/promises'

const from = path => new URL(`../${path}`, import.meta.url)
const to = path => new URL(`pages/${path}`, import.meta.url)

await rm(to(''), { recursive: true, force: true })
for (const text of ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', 'docs']) {
  await cp(from(text), to(text), { recursive: true })
}
