import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { Unavailable } from '../kafka/run'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** The browser of this machine: `CHROMIUM`, or one of its usual names on the path. */
export function findChromium(): string {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const found = [process.env.CHROMIUM, ...names.flatMap(name => folders.map(folder => join(folder, name)))].find(
    path => path !== undefined && path !== '' && existsSync(path),
  )
  if (found === undefined)
    throw new Unavailable('no Chromium: install one (apt-get install chromium), or set CHROMIUM to its path')
  return found
}

export function launch(executablePath: string): Promise<Browser> {
  // Root, as in a container, cannot use Chromium's sandbox.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  return chromium.launch({ executablePath, args })
}

/** The faults of a page: errors, violations of its policy, and requests to other addresses. */
export function faultsOf(page: Page, url: string): string[] {
  const faults: string[] = []
  page.on('pageerror', error => faults.push(String(error)))
  page.on('console', message => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text())
  })
  page.on('request', request => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) faults.push(`asks for ${request.url()}`)
  })
  return faults
}
