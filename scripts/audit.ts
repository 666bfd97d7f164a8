// Lists known vulnerabilities of all installed packages, development tools included. If the registry does not answer `npm audit`,
// the last line says "not run", which is not a pass. The command still succeeds, because no change to this project would help.
import { spawnSync } from 'node:child_process'

const { stdout } = spawnSync('npm', ['audit', '--json', ...process.argv.slice(2)], {
  encoding: 'utf8',
  maxBuffer: 2 ** 26,
})
const report = parsed(stdout)
const counts: Record<string, number> | undefined = report?.metadata?.vulnerabilities
if (counts === undefined) {
  const status = report?.statusCode === undefined ? '' : ` (status ${report.statusCode})`
  console.log(`not run: the registry does not answer npm audit${status}`)
} else {
  for (const { name, severity, range } of Object.values<Finding>(report.vulnerabilities)) {
    console.log(`${severity}: ${name} ${range}`)
  }
  console.log(`${counts.total} known vulnerabilities`)
  process.exitCode = counts.total === 0 ? 0 : 1
}

interface Finding {
  readonly name: string
  readonly severity: string
  readonly range: string
}

function parsed(text: string) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
