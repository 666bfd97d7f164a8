import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** What the texts take for given, as test/docs has it. */
const declarations = /const given = `\n([\s\S]*?)`/.exec(readFileSync(`${root}/test/docs/code-blocks.ts`, 'utf8'))![1]!

/** How the blocks of code are compiled: strictly, and with the package's name meaning its sources. */
export const given = {
  vfsRoot: root,
  // Types are shown, and not their doc comments: those of RxJS have pictures that are not here.
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
