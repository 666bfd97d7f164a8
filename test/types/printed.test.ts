import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '../..')

/** The compiler's output for a program that exists only in memory, one entry per error. */
function printed(program: string): string[] {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [] }, ts.sys, root)
  const file = join(here, 'printed-program.ts')
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists } = host
  host.fileExists = name => name === file || fileExists(name)
  host.getSourceFile = (name, languageVersion, ...rest) =>
    name === file
      ? ts.createSourceFile(name, program, languageVersion, true)
      : getSourceFile.call(host, name, languageVersion, ...rest)
  const compiled = ts.createProgram([file], { ...options, noEmit: true }, host)
  return compiled
    .getSemanticDiagnostics(compiled.getSourceFile(file))
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
}

describe("the compiler's message for a route that may leave a record failed", () => {
  it('explains in the last line of each overload how it has to end', () => {
    const errors = printed(`
      import { pipe } from 'rxjs'
      import type { Client } from '../../src/client/client.js'
      import { deadLetter, discard, redeliver, retryTopic } from '../../src/retry/index.js'
      declare const client: Client
      client.topic('a', { onFail: retryTopic(client, { retries: 3 }) })
      client.topic('b', { onFail: pipe(retryTopic(client, { retries: 3 }), redeliver(client, { attempts: 2 })) })
      client.topic('c', { onFail: failures => failures.pipe(retryTopic(client, { retries: 3 })) })
      client.topic('d', { onFail: failures => failures })
      client.topic('e', { onFail: pipe(retryTopic(client, { retries: 3 }), deadLetter(client)) })
      client.topic('f', { onFail: failures => failures.pipe(redeliver(client, { attempts: 2 }), discard()) })
    `)
    expect(errors).toHaveLength(4)
    for (const error of errors) {
      const overloads = error.split(/^ *Overload /m).slice(1)
      for (const overload of overloads) {
        expect(overload.trimEnd().split('\n').at(-1)).toContain(
          'this route may leave a record failed: end it with deadLetter, discard or halt',
        )
      }
      // Nothing about the insides of an Observable.
      expect(error).not.toMatch(/opaque|source|lift/)
      expect(error.split('\n').length).toBeLessThanOrEqual(1 + 5 * Math.max(1, overloads.length))
    }
    // Starting a compiler takes seconds.
  }, 60_000)
})
