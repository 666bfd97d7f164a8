import { expect, it } from 'vitest'
import { describeOwnKafka } from './describe-kafka'
import { startKafka } from './kafka-server'

describeOwnKafka('a Kafka that cannot start', () => {
  it('reports the reason', async () => {
    const server = startKafka({ config: { 'authorizer.class.name': 'none.such' } })
    await expect(server).rejects.toThrow(/Its log ends with:[\s\S]*none\.such/)
  })
})
