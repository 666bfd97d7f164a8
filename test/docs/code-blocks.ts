import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The declarations that the code blocks assume: a client, and the reader's own functions. */
const given = `
declare const client: import('rxmika').Client
declare function charge(order: unknown): Promise<void>
declare function refund(order: unknown): import('rxjs').Observable<unknown>
declare function book(order: unknown): Promise<void>
declare class OutOfStock extends Error {}
`

/** The code blocks of a language in a Markdown file. Defaults to TypeScript; `''` means blocks without a language. */
export function codeBlocks(file: string, language = 'ts'): string[] {
  const text = readFileSync(join(root, file), 'utf8')
  const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
  return blocks.filter(([, named]) => named === language).map(([, , code]) => code!)
}

/** Type-checks code blocks against the sources, each as a separate module. Returns the errors. */
export function typeErrors(blocks: Readonly<Record<string, readonly string[]>>): string[] {
  const files = new Map([[join(root, 'given.d.ts'), given]])
  for (const [file, codes] of Object.entries(blocks)) {
    codes.forEach((code, at) => {
      files.set(join(root, `${file} ${at + 1}.ts`), code)
    })
  }
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [] }, ts.sys, root)
  options.moduleDetection = ts.ModuleDetectionKind.Force
  options.noUnusedLocals = false
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = name => files.has(name) || fileExists(name)
  host.readFile = name => files.get(name) ?? readFile(name)
  host.getSourceFile = (name, version, ...rest) => {
    const code = files.get(name)
    return code === undefined ? getSourceFile(name, version, ...rest) : ts.createSourceFile(name, code, version)
  }
  const program = ts.createProgram([...files.keys()], options, host)
  const written = [...files.keys()].map(name => program.getSourceFile(name)!)
  return written
    .flatMap(file => ts.getPreEmitDiagnostics(program, file))
    .map(({ file, start, messageText }) => {
      const line = file && start !== undefined ? `:${file.getLineAndCharacterOfPosition(start).line + 1}` : ''
      return `${file?.fileName.slice(root.length)}${line} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
    })
}

/** Runs a code block with the given modules and globals only. */
export function runBlock(
  code: string,
  modules: Readonly<Record<string, object>>,
  globals: Readonly<Record<string, unknown>> = {},
): void {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
  })
  const require = (name: string) => {
    if (!(name in modules)) throw new Error(`the code imports '${name}'`)
    return modules[name]
  }
  new Function('require', 'exports', ...Object.keys(globals), outputText)(require, {}, ...Object.values(globals))
}
