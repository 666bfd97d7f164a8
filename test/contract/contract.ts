import { afterAll, beforeAll, describe } from 'vitest'
import type { Backend } from './backend'
import { byteForByte } from './suites/byte-for-byte'
import { closing } from './suites/closing'
import { consuming } from './suites/consuming'
import { driverPort } from './suites/driver-port'
import { failing } from './suites/failing'
import { iterating } from './suites/iterating'
import { manyTopics } from './suites/many-topics'
import { publishing } from './suites/publishing'
import { reading } from './suites/reading'
import { replaying } from './suites/replaying'
import { reporting } from './suites/reporting'
import { restarting } from './suites/restarting'
import { seeking } from './suites/seeking'
import { starting } from './suites/starting'
import { switching } from './suites/switching'
import { throwing } from './suites/throwing'

/** The scenarios that pass on every broker. */
export function contract(name: string, backend: Backend): void {
  describe(name, () => {
    beforeAll(() => backend.open())
    afterAll(() => backend.close())
    driverPort(backend)
    starting(backend)
    consuming(backend)
    iterating(backend)
    manyTopics(backend)
    failing(backend)
    replaying(backend)
    reading(backend)
    seeking(backend)
    byteForByte(backend)
    switching(backend)
    publishing(backend)
    restarting(backend)
    closing(backend)
    reporting(backend)
    throwing(backend)
  })
}
