import { NoKafka } from './find-kafka'
import { Unavailable } from './run'

const required = process.env.RXMIKA_KAFKA === 'required' || Boolean(process.env.CI)

/** Returns what suites need, or undefined if this machine lacks it. Then they are skipped with a message, or fail if it is required. */
export const orNotRun = async <T>(find: () => Promise<T>, notRun: string): Promise<T | undefined> => {
  try {
    return await find()
  } catch (error) {
    if (required || !(error instanceof NoKafka || error instanceof Unavailable)) throw error
    console.warn(`\n${notRun}\n${error.message}\n`)
    return undefined
  }
}
