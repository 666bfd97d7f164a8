import { expect, it } from 'vitest'
import { chaos, forget } from '../../chaos/chaos'
import { history, recoveries, summary } from '../../chaos/report'
import { describeOwnKafka } from './describe-kafka'

const seed = 1
const minutes = 2

describeOwnKafka('a group under faults', () => {
  it('settles every record in order, and settles twice only what a fault explains', { timeout: 420_000 }, async () => {
    const report = await chaos({ seed, minutes })
    const { evidence, verdict } = report
    console.table([summary(evidence, verdict, { seed, minutes })])
    console.table(recoveries(evidence))

    const [first] = verdict.violations
    const story = first?.id === undefined ? '' : history(evidence, first.id).join('\n')
    expect(verdict.violations, `${report.folder}\n${story}`).toEqual([])
    expect(new Set(evidence.incidents.map(({ kind }) => kind))).toEqual(
      new Set(['join', 'leave', 'kill', 'freeze', 'broker', 'cut']),
    )
    expect(verdict.deadLettered).toBeGreaterThan(0)
    await forget(report)
  })
})
