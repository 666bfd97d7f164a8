/** A partition to hand out: who may have it, who has it, who should rather not get it. */
export interface Claim<Member> {
  readonly name: string
  readonly eligible: readonly Member[]
  readonly owner: Member | undefined
  readonly avoid: Member | undefined
}

/**
 * Shares partitions out evenly, leaving with its owner what need not move. Decided by order alone, never by chance: the
 * same group gives the same assignment.
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
    members.reduce((least, member) => ((load.get(member) ?? 0) < (load.get(least) ?? 0) ? member : least))

  for (const claim of claims) {
    const { owner, avoid, eligible } = claim
    if (owner !== undefined && owner !== avoid && eligible.includes(owner)) give(claim, owner)
  }
  for (const claim of claims) {
    if (assignment.has(claim.name) || claim.eligible.length === 0) continue
    const others = claim.eligible.filter(member => member !== claim.avoid)
    give(claim, leastLoaded(others.length > 0 ? others : claim.eligible))
  }

  // A test that moves a partition asks for just that; evening out would bring it, or another, back.
  if (claims.some(claim => claim.avoid !== undefined)) return assignment

  for (let moved = true; moved; ) {
    moved = false
    for (const claim of claims) {
      const member = assignment.get(claim.name)
      if (member === undefined) continue
      const least = leastLoaded(claim.eligible)
      if (load.get(member)! - (load.get(least) ?? 0) < 2) continue
      give(claim, least)
      moved = true
    }
  }
  return assignment
}
