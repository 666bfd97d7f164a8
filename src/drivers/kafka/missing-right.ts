import { CommitError } from '../../errors.js'
import { ProtocolFailure } from './cluster/protocol-failure.js'

/** Errors about rights name the operation that Kafka's ACLs must allow, and the resource. */

export function cannotReadAsGroup(group: string): string {
  return `may not read as group '${group}': the client's user needs READ on that group (GROUP_AUTHORIZATION_FAILED)`
}

/** @param topics Full names. If there are several, one of them is meant. */
export function cannotReadTopic(topics: readonly string[]): string {
  const names = topics.map(topic => `'${topic}'`).join(', ')
  const [what, where] = topics.length === 1 ? [`topic ${names}`, 'that topic'] : [`one of the topics ${names}`, 'each']
  return `may not read ${what}: the client's user needs READ on ${where} (TOPIC_AUTHORIZATION_FAILED)`
}

/** The message if positions of a group may not be seen. */
export function cannotSeeGroup(group: string): string {
  return `may not see the positions of group '${group}': the user needs DESCRIBE on that group (GROUP_AUTHORIZATION_FAILED)`
}

/** The topic that a broker refused because a right is missing; undefined for every other failure. */
export function forbiddenTopic(error: unknown): string | undefined {
  const failure = error instanceof CommitError ? error.cause : error
  if (!(failure instanceof ProtocolFailure)) return undefined
  return failure.error.name === 'TOPIC_AUTHORIZATION_FAILED' ? failure.topic : undefined
}

/** A broker does not tell a user without rights whether the topic exists. */
export function cannotSeeTopic(topic: string): string {
  return (
    `may not use topic '${topic}', or it does not exist and may not be created: the client's user needs READ on it, ` +
    'or WRITE to publish (TOPIC_AUTHORIZATION_FAILED)'
  )
}
