import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** Without a slash at the end. With one, twoslash compares file names that have two slashes, and finds no error in any code. */
const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
/** The declarations that the code in the texts uses, as in test/docs. */
const declarations = /const given = `\n([\s\S]*?)`/.exec(readFileSync(`${root}/test/docs/code-blocks.ts`, 'utf8'))![1]!

/** The compiler's options for code blocks: strict, and the package's name means its sources. */
export const given = {
  // The folder of the documentation, because some blocks import files of `examples/`.
  vfsRoot: `${root}/docs`,
  // Shows types without their doc comments, because those of RxJS contain pictures that do not exist here.
  filterNode: (node: { type: string; docs?: string | undefined }) => {
    if (node.type === 'hover') node.docs = undefined
    return true
  },
  extraFiles: { 'given.d.ts': declarations },
  compilerOptions: {
    strict: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    moduleDetection: ts.ModuleDetectionKind.Force,
    skipLibCheck: true,
    types: ['node'],
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    baseUrl: root,
    paths: { rxmika: ['./src/index.ts'], 'rxmika/*': ['./src/*/index.ts'] },
  },
}
