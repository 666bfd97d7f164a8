/** A partition to assign: which members may have it, which one has it, and which one should not get it. */
export interface Claim<Member> {
  readonly name: string
  readonly eligible: readonly Member[]
  readonly owner: Member | undefined
  readonly avoid: Member | undefined
}

/**
 * Assigns partitions evenly, and leaves them with their owners if possible. It depends only on the order of members and
 * partitions: the same group gives the same assignment.
 */
export function stickyAssignment<Member>(claims: readonly Claim<Member>[]): Map<string, Member> {
  const assignment = new Map<string, Member>()
  const load = new Map<Member, number>()
  const give = (claim: Claim<Member>, member: Member) => {
    const before = assignment.get(claim.name)
    if (before !== undefined) load.set(before, load.get(before)! - 1)
    assignment.set(claim.name, member)
    load.set(member, (load.get(member) ?? 0) + 1)
  }
  const leastLoaded = (members: readonly Member[]) =>
    members.reduce((lightest, member) => ((load.get(member) ?? 0) < (load.get(lightest) ?? 0) ? member : lightest))

  for (const claim of claims) {
    const { owner, avoid, eligible } = claim
    if (owner !== undefined && owner !== avoid && eligible.includes(owner)) give(claim, owner)
  }
  for (const claim of claims) {
    if (assignment.has(claim.name) || claim.eligible.length === 0) continue
    const others = claim.eligible.filter(member => member !== claim.avoid)
    give(claim, leastLoaded(others.length > 0 ? others : claim.eligible))
  }

  // A test that moves a partition wants just that. Balancing would move it, or another one, back.
  if (claims.some(claim => claim.avoid !== undefined)) return assignment

  for (let moved = true; moved; ) {
    moved = false
    for (const claim of claims) {
      const member = assignment.get(claim.name)
      if (member === undefined) continue
      const lightest = leastLoaded(claim.eligible)
      if (load.get(member)! - (load.get(lightest) ?? 0) < 2) continue
      give(claim, lightest)
      moved = true
    }
  }
  return assignment
}
