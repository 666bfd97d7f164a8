// Prints how many tests passed and failed, from the JSON reports of Vitest. A file that broke before its tests began
// counts as one that failed.
import { existsSync, readFileSync } from 'node:fs'

let passed = 0
let failed = 0
for (const file of process.argv.slice(2).filter(existsSync)) {
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(file, 'utf8'))
  passed += numPassedTests
  failed += numFailedTests
  failed += testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  ).length
  for (const { assertionResults } of testResults) {
    for (const { status, fullName } of assertionResults) {
      if (status === 'skipped' || status === 'pending' || status === 'todo') console.log(`not run: ${fullName}`)
    }
  }
}
console.log(`${passed} passed, ${failed} failed`)
