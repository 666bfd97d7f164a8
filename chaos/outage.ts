import type { Incident } from './stage'

/** A restarted broker may prevent commits for this long, while it loads the group or hands it over, ms. */
const recovery = 8_000

/**
 * True if a broker was away between the two times, so that commits and copies could not be written or confirmed. A cut
 * connection does not count: the client reconnects at once and sends the request again.
 */
export function duringOutage(incidents: readonly Incident[], from: number, until: number): boolean {
  return incidents.some(
    incident => incident.kind === 'broker' && incident.from <= until && from <= incident.until + recovery,
  )
}
