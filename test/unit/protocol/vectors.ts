import { readFileSync } from 'node:fs'

/** The bytes of a message as Kafka's own classes write them, and the JSON that these classes read from the bytes. */
export interface Vector {
  /** The name of Kafka's class. */
  readonly name: string
  readonly version: number
  readonly hex: string
  readonly json: unknown
}

/** See the first lines of the file for how they were made. */
export const vectors: readonly Vector[] = readFileSync(new URL('./vectors.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter(line => line !== '' && !line.startsWith('#'))
  .map(line => {
    const [, name, version, hex, json] = /^(\w+) (\d+) (\w*) (.*)$/.exec(line)!
    return { name: name!, version: Number(version), hex: hex!, json: JSON.parse(json!) as unknown }
  })
