import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { PageFile } from '../page-files.js'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** Bundles the files of the page from their sources. The package contains only the result, not this module. */
export async function bundlePage(): Promise<ReadonlyMap<string, PageFile>> {
  const options = { bundle: true, write: false, minify: true, target: 'es2022', logLevel: 'silent' } as const
  const [script, style, html] = await Promise.all([
    build({ ...options, entryPoints: [path('main.ts')], format: 'esm' }),
    build({ ...options, entryPoints: [path('page.css')] }),
    readFile(path('index.html'), 'utf8'),
  ])
  return new Map([
    ['/', { type: 'text/html', text: html }],
    ['/page.js', { type: 'text/javascript', text: script.outputFiles[0]!.text }],
    ['/page.css', { type: 'text/css', text: style.outputFiles[0]!.text }],
  ])
}
