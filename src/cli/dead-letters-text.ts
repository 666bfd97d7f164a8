import type { TopicNames } from '../client/topic-names.js'
import { noGroup } from './pending-dead-letters.js'

/** `1 dead letter`, `12 dead letters` */
export function deadLettersText(count: number): string {
  return `${count} dead letter${count === 1 ? '' : 's'}`
}

/** @param group Its full name. */
export function ofGroup(group: string, names: TopicNames): string {
  return group === noGroup ? 'without a group' : `of group ${names.user(group)}`
}
