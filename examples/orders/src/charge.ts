import type { ConsumeRecord } from 'rxmika'

interface Order {
  readonly id: string
  readonly cents: number
}

/** Stands in for a payment service. A negative amount always fails. An order with the id `later` fails once. */
export async function charge({ value, attempt }: ConsumeRecord): Promise<void> {
  const { id, cents } = JSON.parse(String(value)) as Order
  if (cents < 0) throw new Error(`order ${id}: the amount is negative`)
  if (id === 'later' && attempt === 1) throw new Error(`order ${id}: the payment service is busy`)
  console.log(`charged ${id}: ${cents}, attempt ${attempt}`)
}
