// Prints how many tests passed and failed, from Vitest's JSON reports. A file that throws before its first test counts as one
// failed test. If no test failed but steps did (lint, types, or an unhandled rejection), each failed step counts as one.
import { existsSync, readFileSync } from 'node:fs'

let passed = 0
let failed = 0
const [failedSteps, ...reports] = process.argv.slice(2)
for (const file of reports.filter(existsSync)) {
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
if (failed === 0) failed = Number(failedSteps)
console.log(`${passed} passed, ${failed} failed`)
