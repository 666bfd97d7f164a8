import { describe, expect, it } from 'vitest'
import { type ErrorTrait, errorCode, kafkaError, kafkaErrors } from '../../../src/protocol/errors.js'

const codesThat = (trait: ErrorTrait) => kafkaErrors.filter(error => error.has(trait)).map(({ code }) => code)

describe('the table of error codes', () => {
  it('has every code from -1 to 136 once, each under one name', () => {
    expect(kafkaErrors.map(({ code }) => code)).toEqual(Array.from({ length: 138 }, (_, i) => i - 1))
    expect(new Set(kafkaErrors.map(({ name }) => name)).size).toBe(138)
  })

  it('returns the code of a name, and both in messages', () => {
    expect(errorCode.NOT_LEADER_OR_FOLLOWER).toBe(6)
    expect(`${kafkaError(6)}`).toBe('NOT_LEADER_OR_FOLLOWER (6)')
  })

  it('concludes nothing from an unknown code', () => {
    const unknown = kafkaError(999)
    expect(`${unknown}`).toBe('UNKNOWN_CODE (999)')
    expect(unknown.has('retriable')).toBe(true)
    expect(unknown.has('mayHaveBeenWritten')).toBe(true)
    expect(unknown.has('refusesRecords')).toBe(false)
    expect(unknown.has('memberIsOut')).toBe(false)
  })

  it('knows the answers to Produce after which the records may have been appended', () => {
    expect(codesThat('mayHaveBeenWritten')).toEqual([-1, 3, 6, 7, 13, 20, 46, 56, 100, 103])
  })

  it('never treats as final what may have been written, nor as retriable what is refused for good', () => {
    for (const error of kafkaErrors) {
      if (error.has('refusesRecords')) {
        expect(error.has('mayHaveBeenWritten'), `${error}`).toBe(false)
        expect(error.has('retriable'), `${error}`).toBe(false)
      }
      if (error.has('oneRecordToBlame')) expect(error.has('refusesRecords'), `${error}`).toBe(true)
    }
  })

  it('treats an unsupported codec as a refusal, and an offset that is not available yet as a wait', () => {
    expect(kafkaError(errorCode.UNSUPPORTED_COMPRESSION_TYPE).has('staleMetadata')).toBe(false)
    expect(kafkaError(errorCode.UNSUPPORTED_COMPRESSION_TYPE).has('retriable')).toBe(false)
    expect(kafkaError(errorCode.OFFSET_NOT_AVAILABLE).has('retriable')).toBe(true)
  })

  it('knows the answers that remove a member from its group, and those that mean that it is behind', () => {
    expect(codesThat('memberIsOut')).toEqual([22, 25, 82, 110])
    expect(kafkaError(errorCode.STALE_MEMBER_EPOCH).has('memberIsOut')).toBe(false)
    expect(kafkaError(errorCode.REBALANCE_IN_PROGRESS).has('memberIsOut')).toBe(false)
  })

  it('knows every authorization error', () => {
    const byName = kafkaErrors.filter(({ name }) => name.endsWith('_AUTHORIZATION_FAILED')).map(({ code }) => code)
    expect(codesThat('notAuthorized')).toEqual(byName)
  })
})
