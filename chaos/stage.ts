import { setTimeout as sleep } from 'node:timers/promises'
import type { GroupProtocol } from 'rxmika'
import { now } from './clock'
import type { Cluster } from './cluster'
import { MemberProcess } from './member-process'
import type { Fault, FaultKind } from './schedule'

/** A fault as it was carried out. */
export interface Incident {
  readonly kind: FaultKind
  /** The member's name, or the broker's number. */
  readonly target: string
  readonly from: number
  /** When the fault ended. The members may need more time to recover. */
  readonly until: number
}

/** A member that was asked to leave is killed after this time, ms. It waits 10 s for its records, and closing takes 1.5 s more. */
const leaveTimeout = 40_000

/** Starts the members, and carries out the faults. */
export class Stage {
  readonly incidents: Incident[] = []
  /** All members of the run, including those that have ended. */
  readonly members: MemberProcess[] = []
  /** The names of members that were asked to leave and did not end in time. */
  readonly overdue: string[] = []
  readonly #slots = new Map<number, MemberProcess>()
  /** How many members each slot has had. */
  readonly #lives = new Map<number, number>()
  /** Faults of the same target are carried out one after the other. */
  readonly #queues = new Map<string, Promise<void>>()

  constructor(
    readonly cluster: Cluster,
    /** The folder for journals and logs. */
    readonly folder: string,
    readonly groupProtocol: GroupProtocol,
    readonly say: (text: string) => void,
  ) {}

  /** Starts the members. Resolves when all are running. */
  async fill(members: number): Promise<void> {
    const first = Array.from({ length: members }, (_, at) => this.#startMember(at + 1))
    await Promise.all(first.map(({ running }) => running))
  }

  #startMember(slot: number): MemberProcess {
    const life = (this.#lives.get(slot) ?? 0) + 1
    this.#lives.set(slot, life)
    const member = new MemberProcess(`m${slot}.${life}`, this.cluster.kafka.brokers, this.folder, this.groupProtocol)
    this.#slots.set(slot, member)
    this.members.push(member)
    return member
  }

  /** Carries out the faults. Resolves when all have ended, and rejects if one could not be carried out. */
  async play(faults: readonly Fault[]): Promise<void> {
    const turns = faults.map(async fault => {
      await sleep(fault.at)
      await this.#inTurn(fault)
    })
    await Promise.allSettled(turns)
    await Promise.all(turns)
  }

  #inTurn(fault: Fault): Promise<void> {
    const queue = queueOf(fault)
    const turn = (this.#queues.get(queue) ?? Promise.resolve()).then(() => this.#carryOut(fault))
    this.#queues.set(queue, turn)
    return turn
  }

  async #carryOut(fault: Fault): Promise<void> {
    const from = now()
    const member = this.#slots.get(fault.target)!
    switch (fault.kind) {
      case 'join': {
        const joining = this.#startMember(fault.target)
        this.#note(fault, joining.name, from, from)
        await sleep(fault.lasts)
        const leaving = now()
        await this.#leave(joining)
        return this.#note({ ...fault, kind: 'leave' }, joining.name, leaving, now())
      }
      case 'leave':
        await this.#leave(member)
        this.#note(fault, member.name, from, now())
        await sleep(fault.lasts)
        this.#startMember(fault.target)
        return
      case 'kill':
        member.signal('SIGKILL')
        await member.ended
        this.#note(fault, member.name, from, now())
        await sleep(fault.lasts)
        this.#startMember(fault.target)
        return
      case 'freeze':
        member.signal('SIGSTOP')
        await sleep(fault.lasts)
        member.signal('SIGCONT')
        return this.#note(fault, member.name, from, now())
      case 'broker':
        return this.#restartBroker(fault, from)
      case 'cut': {
        const cut = this.cluster.proxies[fault.target - 1]!.cut(fault.connections!)
        return this.#note(fault, `${fault.target} (${cut})`, from, now())
      }
    }
  }

  async #restartBroker(fault: Fault, from: number): Promise<void> {
    const { kafka, proxies } = this.cluster
    const proxy = proxies[fault.target - 1]!
    await kafka.kill(fault.target)
    proxy.refuse()
    await sleep(fault.lasts)
    await Promise.all([kafka.restart(fault.target), proxy.accept()])
    this.#note(fault, `${fault.target}`, from, now())
  }

  /** All members leave gracefully. */
  async clear(): Promise<void> {
    const present = [...this.#slots.values()].filter(member => member.ending === undefined)
    await Promise.all(present.map(member => this.#leave(member)))
  }

  async #leave(member: MemberProcess): Promise<void> {
    await member.up
    member.signal('SIGTERM')
    const overdue = setTimeout(() => {
      this.say(`${member.name} did not end in time`)
      this.overdue.push(member.name)
      member.signal('SIGKILL')
    }, leaveTimeout)
    await member.ended
    clearTimeout(overdue)
  }

  #note({ kind }: Fault, target: string, from: number, until: number): void {
    this.incidents.push({ kind, target, from, until })
    this.say(`${kind} ${target}`)
  }
}

/** All brokers share one queue, so that at most one is away at a time, and the others have the acknowledged records. */
function queueOf({ kind, target }: Fault): string {
  return kind === 'broker' || kind === 'cut' ? kind : `slot ${target}`
}
