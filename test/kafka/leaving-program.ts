// Leaves its group at the moment when kafkajs begins to fetch anew, for the set of brokers has changed; ends by itself.
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { firstValueFrom, ReplaySubject } from 'rxjs'
import '../strict'
import { GroupMember } from '../../src/drivers/kafkajs/group-member'
import { Reachability } from '../../src/drivers/kafkajs/reachability'

const [brokers, groupId, topic] = process.argv.slice(2) as [string, string, string]
const joined = new ReplaySubject<void>()
const held = new ReplaySubject<void>()
const goOn = new ReplaySubject<void>()
let changed = false
let fetches = 0

const member = new GroupMember(
  new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING }),
  { groupId, topics: [topic], rebalanceTimeout: 5_000, sessionTimeout: 10_000, heartbeatInterval: 1_000 },
  {
    givingUp: async () => {},
    ownership: () => ({ generation: -1, owned: [] }),
    joined: () => joined.next(),
    kicked: () => {},
    // One fetch is under way while another notices the change: kafkajs waits for it before it begins anew.
    reading: () => async () => {
      if (++fetches === 10) {
        held.next()
        await firstValueFrom(goOn)
      } else await sleep(5)
      return { responses: [] }
    },
    lazily: undefined,
    answered: () => {},
    unanswered: () => {},
    confirmed: () => {},
    crashed: () => {},
  },
  new Reachability(() => {}),
)
const getNodeIds = member.cluster.getNodeIds.bind(member.cluster)
member.cluster.getNodeIds = () => {
  const own = getNodeIds()
  return changed ? [...own, ...own, ...own] : [...own, ...own]
}
const started = member.start()
await Promise.race([firstValueFrom(joined), started.then(() => new Promise<never>(() => {}))])
await firstValueFrom(held)
changed = true
await sleep(50)
const left = member.leave({ deleteGroup: true })
goOn.next()
await left
console.log('left')
