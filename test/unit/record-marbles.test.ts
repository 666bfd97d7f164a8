import { type Client, handle } from 'rxmika'
import { type MarbleRecording, type RecordingOptions, recordMarbles, runMarbles } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { runPrinted } from './run-printed.js'

function recorded(options: RecordingOptions, records: string): { recording: MarbleRecording; client: Client } {
  let result: { recording: MarbleRecording; client: Client } | undefined
  runMarbles(helpers => {
    const client = helpers.createClient()
    const recording = recordMarbles(client, options)
    client
      .topic('orders', { dlq: true })
      .pipe(
        recording.watch,
        handle(({ value }) => {
          if (String(value) === 'b') throw new Error('no')
        }),
      )
      .subscribe()
    helpers.records('orders', records)
    result = { recording, client }
  })
  return result!
}

describe('recordMarbles', () => {
  it('records deliveries, settlements, commits and copies', () => {
    const { recording } = recorded({}, 'ab')
    const seen = recording.entries().filter(({ topic }) => topic === 'orders')
    expect(seen.map(({ what, offset }) => `${what} ${offset}`)).toEqual(
      expect.arrayContaining(['delivered 0', 'acked 0', 'failed 1', 'dead-lettered 1', 'committed 2']),
    )
    expect(recording.diagram()).toMatch(/dead-lettered of orders-0 .*b/)
    expect(JSON.parse(JSON.stringify(recording.entries()))).toEqual(recording.entries())
  })

  it('shows no contents of a record without the option values', () => {
    const test = (options: RecordingOptions) => recorded(options, 'a').recording.diagram()
    expect(test({})).toMatch('a  orders-0@0')
    expect(test({ values: ({ value }) => `value ${value}` })).toMatch('a  orders-0@0, value a')
  })

  it('keeps only the newest entries, and none after it is stopped', () => {
    const { recording } = recorded({ limit: 3 }, 'abcdef')
    expect(recording.entries()).toHaveLength(3)
    runMarbles(({ createClient, records, at }) => {
      const client = createClient()
      const early = recordMarbles(client)
      client.topic('orders').pipe(early.watch).subscribe()
      records('orders', 'a--b')
      at('               -x', () => early.stop())
      at('               ----x', () => {
        expect(early.entries().filter(({ what }) => what === 'delivered')).toHaveLength(1)
      })
    })
    const { client } = recorded({}, '')
    expect(() => recordMarbles(client, { limit: 0 })).toThrow('limit must be an integer ≥ 1 (got 0)')
  })

  it('writes values with the option values, and a test for a window without records', () => {
    const { recording } = recorded({ values: ({ value }) => `<${value}>` }, 'ab')
    expect(recording.test()).toMatch("{ a: '<a>', b: '<b>' }")
    runPrinted(recording.test())
    runPrinted(recorded({}, '').recording.test())
  })

  it('writes a test that passes, and fails if the outcome differs', () => {
    let recording: MarbleRecording | undefined
    runMarbles(({ createClient, records, ack, fail }) => {
      const client = createClient()
      recording = recordMarbles(client)
      client.topic('orders', { retries: 1, dlq: true }).pipe(recording.watch).subscribe()
      const secret = { key: 'secret', value: 'hidden' }
      records('orders', ['a-b-------c', '--d'], { a: secret, c: secret })
      ack('               ---b----da-c')
      fail('              ----d')
      fail('              -----a')
      records('orders', ['            e'], {})
      fail('              -------------e-e')
    })
    const text = recording!.test()
    expect(text).toMatch(/createClient\(\)/)
    expect(text).not.toMatch(/secret|hidden/)
    expect(text.match(/key: 'key 1'/g)).toHaveLength(2)
    expect(text).toMatch('{ retries: 1, dlq: true }')
    runPrinted(text)
    for (const helper of ['Deliveries', 'Commits', 'Retries', 'DeadLetters']) {
      const line = text.split('\n').find(line => line.includes(`expect${helper}(`))!
      expect(line).toMatch(/[\da-z]/)
      const altered = line.replace(/toBe\((\[?)'/, "toBe($1'-")
      expect(() => runPrinted(text.replace(line, altered)), helper).toThrow('expected')
    }
  })
})
