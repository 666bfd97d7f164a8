import { runOnKafkaClasses } from './java-program'

/** Bytes of a message: the name of Kafka's class, and the version. */
export interface MessageBytes {
  readonly name: string
  readonly version: number
  readonly hex: string
}

export interface ReadMessage {
  /** The bytes that Kafka's class writes for the message that it has read. */
  readonly hex: string
  readonly json: unknown
}

/** Has Kafka's own classes read messages. Rejects with the reason if they refuse one. */
export async function readByKafka(messages: readonly MessageBytes[]): Promise<ReadMessage[]> {
  const input = messages.map(({ name, version, hex }) => `${name} ${version} ${hex}`).join('\n')
  const lines = await runOnKafkaClasses('KafkaMessages.java', `${input}\n`)
  if (lines.length !== messages.length) throw new Error(`${lines.length} answers to ${messages.length} messages`)
  return lines.map((line, i) => {
    const { name, version, hex } = messages[i]!
    if (line.startsWith('error ')) throw new Error(`${name} version ${version}: ${line.slice(6)} (${hex})`)
    const space = line.indexOf(' ')
    return { hex: line.slice(0, space), json: JSON.parse(line.slice(space + 1)) as unknown }
  })
}
