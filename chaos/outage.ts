import type { Incident } from './stage'

/** How long after it is back a broker may keep commits from being written: it loads the group, or hands it over, ms. */
const recovery = 8_000

/**
 * Whether between those times a broker was away, so that commits and copies could not be written or confirmed. A cut
 * connection is no such excuse: it is made anew at once, and what was sent on it is sent again.
 */
export function duringOutage(incidents: readonly Incident[], from: number, until: number): boolean {
  return incidents.some(
    incident => incident.kind === 'broker' && incident.from <= until && from <= incident.until + recovery,
  )
}
