import type { TopicNames } from '../client/topic-names.js'
import { noGroup } from './letters.js'

/** `1 letter`, `12 letters` */
export function lettersText(count: number): string {
  return `${count} letter${count === 1 ? '' : 's'}`
}

/** @param group Its full name. */
export function ofGroup(group: string, names: TopicNames): string {
  return group === noGroup ? 'without a group' : `of group ${names.user(group)}`
}
