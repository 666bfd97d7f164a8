// Checks that Vue has compiled the types in the code blocks of the built pages. If it has not, no type appears under the pointer.
import { readdir, readFile } from 'node:fs/promises'

const dist = new URL('dist/', import.meta.url)
let hovers = 0
for (const file of await readdir(dist, { recursive: true })) {
  if (!file.endsWith('.html')) continue
  const page = await readFile(new URL(file, dist), 'utf8')
  if (page.includes('<v-menu')) throw new Error(`${file}: the types in its code were not compiled by Vue`)
  hovers += page.split('twoslash-hover').length - 1
}
if (hovers < 500) throw new Error(`only ${hovers} names in code have a type (expected more than 500)`)
console.log(`${hovers} names in code have a type`)
