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
  /** When it was over, whatever it left behind. */
  readonly until: number
}

/** Longer than any close may take: what members grant their work, and 25 s. */
const longestLeave = 40_000

/** The brokers and members that faults happen to. */
export class Stage {
  readonly incidents: Incident[] = []
  /** All there ever were. */
  readonly members: MemberProcess[] = []
  /** Those that were asked to leave and did not end in time. */
  readonly overdue: string[] = []
  readonly #seats = new Map<number, MemberProcess>()
  readonly #lives = new Map<number, number>()
  /** What is hit by two faults is hit by one after the other, however long the first one takes. */
  readonly #queues = new Map<string, Promise<void>>()

  constructor(
    readonly cluster: Cluster,
    /** Where members write. */
    readonly folder: string,
    readonly groupProtocol: GroupProtocol,
    readonly say: (text: string) => void,
  ) {}

  /** So many members take their seats; resolves when all are part of the group. */
  async fill(members: number): Promise<void> {
    const first = Array.from({ length: members }, (_, at) => this.#seat(at + 1))
    await Promise.all(first.map(({ running }) => running))
  }

  #seat(seat: number): MemberProcess {
    const life = (this.#lives.get(seat) ?? 0) + 1
    this.#lives.set(seat, life)
    const member = new MemberProcess(`m${seat}.${life}`, this.cluster.kafka.brokers, this.folder, this.groupProtocol)
    this.#seats.set(seat, member)
    this.members.push(member)
    return member
  }

  /** Carries out what is planned; resolves when all of it is over, and rejects with what could not be done. */
  async play(faults: readonly Fault[]): Promise<void> {
    const turns = faults.map(async fault => {
      await sleep(fault.at)
      await this.#inTurn(fault)
    })
    await Promise.allSettled(turns)
    await Promise.all(turns)
  }

  #inTurn(fault: Fault): Promise<void> {
    const thing = thingOf(fault)
    const turn = (this.#queues.get(thing) ?? Promise.resolve()).then(() => this.#carryOut(fault))
    this.#queues.set(thing, turn)
    return turn
  }

  async #carryOut(fault: Fault): Promise<void> {
    const from = now()
    const member = this.#seats.get(fault.target)!
    switch (fault.kind) {
      case 'join': {
        const guest = this.#seat(fault.target)
        this.#note(fault, guest.name, from, from)
        await sleep(fault.lasts)
        const leaving = now()
        await this.#leave(guest)
        return this.#note({ ...fault, kind: 'leave' }, guest.name, leaving, now())
      }
      case 'leave':
        await this.#leave(member)
        this.#note(fault, member.name, from, now())
        await sleep(fault.lasts)
        this.#seat(fault.target)
        return
      case 'kill':
        member.signal('SIGKILL')
        await member.ended
        this.#note(fault, member.name, from, now())
        await sleep(fault.lasts)
        this.#seat(fault.target)
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
    const present = [...this.#seats.values()].filter(member => member.ending === undefined)
    await Promise.all(present.map(member => this.#leave(member)))
  }

  async #leave(member: MemberProcess): Promise<void> {
    await member.up
    member.signal('SIGTERM')
    const overdue = setTimeout(() => {
      this.say(`${member.name} does not end`)
      this.overdue.push(member.name)
      member.signal('SIGKILL')
    }, longestLeave)
    await member.ended
    clearTimeout(overdue)
  }

  #note({ kind }: Fault, target: string, from: number, until: number): void {
    this.incidents.push({ kind, target, from, until })
    this.say(`${kind} ${target}`)
  }
}

/** One broker after the other, for the others have what was acknowledged. */
function thingOf({ kind, target }: Fault): string {
  return kind === 'broker' || kind === 'cut' ? kind : `seat ${target}`
}
