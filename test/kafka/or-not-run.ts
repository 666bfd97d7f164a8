import { NoKafka } from './find-kafka'
import { Unavailable } from './run'

const required = process.env.RXMIKA_KAFKA === 'required' || Boolean(process.env.CI)

/**
 * Returns what `find` finds. If this machine lacks it, prints `notRun` and returns undefined, so that the suites that need it are
 * skipped. Rejects instead if CI or RXMIKA_KAFKA=required is set.
 */
export const orNotRun = async <T>(find: () => Promise<T>, notRun: string): Promise<T | undefined> => {
  try {
    return await find()
  } catch (error) {
    if (required || !(error instanceof NoKafka || error instanceof Unavailable)) throw error
    console.warn(`\n${notRun}\n${error.message}\n`)
    return undefined
  }
}
