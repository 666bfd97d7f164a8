import type { AnyMessage } from '../schema/message.js'
import { fetch } from './fetch.js'
import { findCoordinator } from './find-coordinator.js'
import { listOffsets } from './list-offsets.js'
import { metadata } from './metadata.js'
import { offsetCommit } from './offset-commit.js'
import { offsetFetch } from './offset-fetch.js'

/** Every message that is spoken here. */
export const messages: readonly AnyMessage[] = [
  metadata,
  findCoordinator,
  listOffsets,
  offsetFetch,
  offsetCommit,
  fetch,
]
