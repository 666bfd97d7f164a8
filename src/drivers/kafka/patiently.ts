import type { Clock } from '../../clock.js'
import { Backoff } from './backoff.js'
import { ProtocolFailure } from './cluster/protocol-failure.js'
import { RefusedConnectionError, UnansweredError, UnsupportedRequestError } from './transport/failures.js'

const firstPause = 50
const maxPause = 1_000

/**
 * Retries a step until it succeeds. Rejects with its last error once it is refused for good, `patience` ms are over, or
 * `ended` is aborted.
 */
export async function patiently<T>(
  step: () => Promise<T>,
  { clock, patience, ended }: { readonly clock: Clock; readonly patience: number; readonly ended: AbortSignal },
): Promise<T> {
  const until = clock.monotonic() + patience
  const backoff = new Backoff(firstPause, maxPause)
  for (;;) {
    try {
      return await step()
    } catch (error) {
      if (!passes(error) || clock.monotonic() > until || ended.aborted) throw error
    }
    backoff.failed()
    await backoff.wait(ended)
  }
}

/** Whether a retry may help. */
function passes(error: unknown): boolean {
  if (error instanceof UnansweredError) return true
  if (error instanceof RefusedConnectionError || error instanceof UnsupportedRequestError) return false
  if (!(error instanceof ProtocolFailure)) return !('code' in (error as object))
  return error.error.has('retriable') || error.error.has('coordinatorMoved') || error.error.has('staleMetadata')
}
