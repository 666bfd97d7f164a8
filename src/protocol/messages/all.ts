import type { AnyMessage } from '../schema/message.js'
import { addPartitionsToTxn } from './add-partitions-to-txn.js'
import { apiVersions } from './api-versions.js'
import { consumerGroupDescribe } from './consumer-group-describe.js'
import { consumerGroupHeartbeat } from './consumer-group-heartbeat.js'
import { describeGroups } from './describe-groups.js'
import { describeShareGroupOffsets } from './describe-share-group-offsets.js'
import { endTxn } from './end-txn.js'
import { fetch } from './fetch.js'
import { findCoordinator } from './find-coordinator.js'
import { heartbeat } from './heartbeat.js'
import { initProducerId } from './init-producer-id.js'
import { joinGroup } from './join-group.js'
import { leaveGroup } from './leave-group.js'
import { listOffsets } from './list-offsets.js'
import { metadata } from './metadata.js'
import { offsetCommit } from './offset-commit.js'
import { offsetFetch } from './offset-fetch.js'
import { offsetForLeaderEpoch } from './offset-for-leader-epoch.js'
import { produce } from './produce.js'
import { syncGroup } from './sync-group.js'

/** Every message that this client implements. */
export const messages: readonly AnyMessage[] = [
  produce,
  fetch,
  listOffsets,
  metadata,
  offsetCommit,
  offsetFetch,
  findCoordinator,
  joinGroup,
  heartbeat,
  leaveGroup,
  syncGroup,
  describeGroups,
  apiVersions,
  initProducerId,
  offsetForLeaderEpoch,
  addPartitionsToTxn,
  endTxn,
  consumerGroupHeartbeat,
  consumerGroupDescribe,
  describeShareGroupOffsets,
]

const byKey: ReadonlyMap<number, AnyMessage> = new Map(messages.map(each => [each.key, each]))

/** The message with an API key; undefined if this client does not implement it. */
export function messageOf(key: number): AnyMessage | undefined {
  return byKey.get(key)
}
