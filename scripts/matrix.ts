// `npm run matrix` runs the suites of the driver's contract and of its codecs with each supported Node on each supported Kafka.
// `-- --node 22 --kafka 4.1` runs one combination, `-- --write` writes the results to docs/versions.md. Needs Java 17 and Maven.
// The versions of Node are installed from npm, once.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const kafkas = { '3.9': '3.9.1', '4.1': '4.1.0', '4.4': '4.4.0' } as const
const nodes = ['20', '22', '24'] as const
const suites = ['test/contract', 'test/kafka/driver-codecs.kafka.test.ts']

const root = fileURLToPath(new URL('..', import.meta.url))
const { values: options } = parseArgs({
  options: { node: { type: 'string' }, kafka: { type: 'string' }, write: { type: 'boolean', default: false } },
})
const chosenNodes = chosen('node', nodes, options.node)
const chosenKafkas = chosen('kafka', Object.keys(kafkas) as (keyof typeof kafkas)[], options.kafka)

interface Outcome {
  readonly node: string
  readonly kafka: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const programs = installNodes()
const outcomes: Outcome[] = []
for (const kafka of chosenKafkas) {
  for (const node of chosenNodes) {
    const outcome = await runSuites(programs.get(node)!, kafkas[kafka])
    outcomes.push(outcome)
    console.log(`Node ${outcome.node} on Kafka ${outcome.kafka}: ${textOf(outcome)}`)
  }
}
if (options.write) writeFileSync(join(root, 'docs/versions.md'), page())
process.exitCode = outcomes.every(({ passed, failed }) => passed > 0 && failed === 0) ? 0 : 1

function chosen<T extends string>(name: string, all: readonly T[], one: string | undefined): readonly T[] {
  if (one === undefined) return all
  const found = all.filter(each => each === one)
  if (found.length === 0) throw new Error(`--${name} must be one of ${all.join(', ')} (got ${one})`)
  return found
}

/** Installs each version of Node as an npm package. Returns the path of its program by major version. */
function installNodes(): ReadonlyMap<string, string> {
  const folder = join(root, 'node_modules/.cache/rxmika-nodes')
  const source = `node-${process.platform}-${process.arch}`
  const dependencies = Object.fromEntries(nodes.map(version => [`node-${version}`, `npm:${source}@${version}`]))
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }))
  const installed = spawnSync('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund'], { cwd: folder })
  if (installed.status !== 0) throw new Error(`npm install of ${source} failed\n${installed.stderr}`)
  return new Map(nodes.map(version => [version, join(folder, 'node_modules', `node-${version}`, 'bin/node')]))
}

/** @param program The path of Node. */
async function runSuites(program: string, kafka: string): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'rxmika-matrix-'))
  const report = join(folder, 'report.json')
  const { KAFKA_BROKERS: _, ...env } = process.env
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const args = [
    vitest,
    'run',
    '--project',
    'kafka',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]
  const settings = { RXMIKA_KAFKA: 'required', RXMIKA_KAFKA_SUITES: 'all', RXMIKA_KAFKA_VERSION: kafka }
  await new Promise(resolve => {
    const options = { cwd: root, env: { ...env, ...settings }, stdio: 'inherit' } as const
    spawn(program, [...args, ...suites], options).on('close', resolve)
  })
  const { version } = JSON.parse(readFileSync(join(program, '../../package.json'), 'utf8'))
  const noReport = { numPassedTests: 0, numFailedTests: 1, numPendingTests: 0 }
  const result = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : noReport
  rmSync(folder, { recursive: true })
  // A file that throws before its first test has no failed tests.
  const failed = result.numFailedTests + (result.success === false && result.numFailedTests === 0 ? 1 : 0)
  return { node: version, kafka, passed: result.numPassedTests, failed, skipped: result.numPendingTests }
}

function textOf({ passed, failed, skipped }: Outcome): string {
  const count = `${passed} passed`
  return [count, ...(failed > 0 ? [`**${failed} failed**`] : []), ...(skipped > 0 ? [`${skipped} not run`] : [])].join(
    ', ',
  )
}

function page(): string {
  const columns = [...new Set(outcomes.map(({ node }) => node))]
  const rows = [...new Set(outcomes.map(({ kafka }) => kafka))]
  const cell = (kafka: string, node: string) => {
    const outcome = outcomes.find(each => each.kafka === kafka && each.node === node)
    return outcome === undefined ? '' : textOf(outcome)
  }
  return `# Versions

rxmika needs Node 20.19 or newer and Apache Kafka 3.9 or newer. Its types are for TypeScript 5.8 to 7.0 (\`npm run matrix:types\`).

\`npm run matrix -- --write\` writes this page. It runs the driver's contract and the codecs, ${suites.map(name => `\`${name}\``).join(' and ')},
with each Node on each Kafka, one broker started from Kafka's jars. The other suites run in CI, with the lowest Node on the newest Kafka. On Kafka 3.9
the contract of the consumer protocol is not run, because that protocol is enabled from Kafka 4.0.

Last run: ${new Date().toISOString().slice(0, 10)}.

| | ${columns.map(version => `Node ${version}`).join(' | ')} |
|---|${columns.map(() => '---').join('|')}|
${rows.map(kafka => `| Kafka ${kafka} | ${columns.map(node => cell(kafka, node)).join(' | ')} |`).join('\n')}
`
}
