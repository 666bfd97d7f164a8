import type { Client } from 'rxmika'

/** A snapshot in Prometheus's text format. Alert on the lag. If `held` is above 0, a failure route holds records. */
export function exposition({ topics, partitions }: ReturnType<Client['metrics']>): string {
  const lines: string[] = []
  for (const [topic, counts] of Object.entries(topics)) {
    for (const [name, count] of Object.entries(counts)) {
      lines.push(`rxmika_records_total{topic="${topic}",outcome="${name}"} ${count}`)
    }
  }
  for (const { topic, partition, lag, inFlight, held } of partitions) {
    const labels = `{topic="${topic}",partition="${partition}"}`
    if (lag !== undefined) lines.push(`rxmika_lag${labels} ${lag}`)
    lines.push(`rxmika_in_flight${labels} ${inFlight}`, `rxmika_held${labels} ${held}`)
  }
  return `${lines.join('\n')}\n`
}
