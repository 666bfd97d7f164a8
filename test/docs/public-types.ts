import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = join(dirname(fileURLToPath(import.meta.url)), '../..')

/** A member of an exported type, or one alternative of an exported union, with the name under which it is reported. */
export interface PublicMember {
  readonly name: string
  readonly documented: boolean
  readonly optional: boolean
  /** Its type, as it is written. */
  readonly type: string
}

/** Something that an entry point exports. */
export interface PublicExport {
  readonly name: string
  readonly documented: boolean
  readonly members: readonly PublicMember[]
  /** The fields of parameters whose type is written at the parameter, as in `close(options: { timeout?: number })`. */
  readonly inline: readonly PublicMember[]
}

/** The source of each entry point in package.json, by the name that users import. */
export function entryPoints(): ReadonlyMap<string, string> {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, string | { import: { types: string } }>
  }
  const entries = new Map<string, string>()
  for (const [name, target] of Object.entries(exports)) {
    if (typeof target === 'string') continue
    const source = target.import.types.replace('./dist/esm/', 'src/').replace(/\.d\.ts$/, '.ts')
    entries.set(name.replace('.', 'rxmika'), join(root, source))
  }
  return entries
}

/**
 * Reads what files export. The types of the language and of other packages are not read: that would take seconds, and
 * comments do not need them. So a member whose name is a symbol (`[Symbol.asyncDispose]`) is left out.
 */
export function exportsOf(files: readonly string[], virtual: ReadonlyMap<string, string> = new Map()): PublicExport[] {
  const program = programOf(files, virtual)
  const checker = program.getTypeChecker()
  return files.flatMap(file => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(file)!)!
    return checker.getExportsOfModule(module).map(exported => {
      const isAlias = (exported.flags & ts.SymbolFlags.Alias) !== 0
      const symbol = isAlias ? checker.getAliasedSymbol(exported) : exported
      return {
        name: exported.name,
        documented: isDocumented(symbol),
        members: membersOf(exported.name, symbol),
        inline: (symbol.declarations ?? []).flatMap(declaration => inlineOf(exported.name, declaration)),
      }
    })
  })

  function isDocumented(symbol: ts.Symbol): boolean {
    return symbol.getDocumentationComment(checker).length > 0
  }

  function membersOf(name: string, symbol: ts.Symbol): PublicMember[] {
    const alias = symbol.declarations?.find(ts.isTypeAliasDeclaration)
    if (alias !== undefined) return partsOf(name, alias.type)
    if ((symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.Class)) === 0) return []
    const statics = [...(symbol.exports?.values() ?? [])].filter(({ name }) => name !== 'prototype')
    return [...checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)), ...statics]
      .filter(member => !member.name.startsWith('__') && member.declarations?.some(isPublic) === true)
      .map(member => memberOf(name, member))
  }

  function partsOf(name: string, type: ts.TypeNode): PublicMember[] {
    if (ts.isUnionTypeNode(type)) {
      const { text } = type.getSourceFile()
      return type.types.map((alternative, at) => ({
        name: `${name}, alternative ${at + 1}`,
        // Alternatives that are only a name or a literal are described by the comment on the union.
        documented:
          !hasLiteral(alternative) ||
          text.slice(at === 0 ? type.pos : type.types[at - 1]!.end, alternative.getStart()).includes('/**'),
        optional: false,
        type: alternative.getText(),
      }))
    }
    if (ts.isIntersectionTypeNode(type)) return type.types.flatMap(part => partsOf(name, part))
    if (!ts.isTypeLiteralNode(type)) return []
    return type.members.flatMap(member => {
      const symbol = member.name === undefined ? undefined : checker.getSymbolAtLocation(member.name)
      return symbol === undefined ? [] : [memberOf(name, symbol)]
    })
  }

  function inlineOf(name: string, node: ts.Node): PublicMember[] {
    if (ts.isBlock(node)) return []
    if (ts.isParameter(node))
      return node.type === undefined ? [] : partsOf(`${name}(${node.name.getText()})`, node.type)
    const named = ts.isMethodSignature(node) || ts.isMethodDeclaration(node) ? `${name}.${node.name.getText()}` : name
    const found: PublicMember[] = []
    ts.forEachChild(node, child => void found.push(...inlineOf(named, child)))
    return found
  }

  function memberOf(of: string, member: ts.Symbol): PublicMember {
    const declaration = member.declarations?.[0]
    const type =
      declaration !== undefined && 'type' in declaration ? (declaration.type as ts.Node | undefined) : undefined
    return {
      name: `${of}.${member.name}`,
      documented: isDocumented(member),
      optional: (member.flags & ts.SymbolFlags.Optional) !== 0,
      type: type?.getText() ?? '',
    }
  }
}

function hasLiteral(type: ts.TypeNode): boolean {
  if (ts.isParenthesizedTypeNode(type)) return hasLiteral(type.type)
  if (ts.isIntersectionTypeNode(type)) return type.types.some(hasLiteral)
  return ts.isTypeLiteralNode(type)
}

function isPublic(declaration: ts.Declaration): boolean {
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected
  if ((ts.getCombinedModifierFlags(declaration) & hidden) !== 0) return false
  const name = ts.getNameOfDeclaration(declaration)
  return name === undefined || !ts.isPrivateIdentifier(name)
}

function programOf(files: readonly string[], virtual: ReadonlyMap<string, string>): ts.Program {
  const options: ts.CompilerOptions = { noLib: true, types: [], target: ts.ScriptTarget.ES2022 }
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = name => virtual.has(name) || fileExists(name)
  host.readFile = name => virtual.get(name) ?? readFile(name)
  host.resolveModuleNameLiterals = (names, from) =>
    names.map(({ text }) => {
      if (!text.startsWith('.')) return { resolvedModule: undefined }
      const resolvedFileName = join(dirname(from), text.replace(/\.js$/, '.ts'))
      return { resolvedModule: { resolvedFileName, extension: ts.Extension.Ts } }
    })
  return ts.createProgram(files, options, host)
}
