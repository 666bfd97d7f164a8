import { afterAll, beforeAll } from 'vitest'
import type { Backend } from '../contract/backend'
import { kafkaBackend } from '../contract/kafka-backend'
import { type Scenario, scenarios } from '../contract/world'
import { BrokerProxy } from './broker-proxy'
import { type KafkaOptions, type KafkaServer, startKafka } from './kafka-server'

/** The Kafka of one suite, from its first test to its last. */
export interface OwnKafka {
  readonly server: KafkaServer
  /** The proxy in front of the node; only with `proxied`. */
  readonly proxy: BrokerProxy
  /** Addresses without proxy, login and TLS, for checks. */
  readonly backend: Backend
  readonly scenario: Scenario
}

/** Starts a Kafka for the suite that calls this, and stops it after the suite's last test. */
export function ownKafka({
  proxied = false,
  ...options
}: KafkaOptions & { readonly proxied?: boolean } = {}): OwnKafka {
  const inside = proxied || options.unreachable === true || options.tls === true || options.sasl !== undefined
  let server: KafkaServer
  let proxy: BrokerProxy | undefined
  const advertise = async (address: string) => {
    proxy = await (await BrokerProxy.to(address)).open()
    return proxy.address
  }
  const backend = kafkaBackend(() => (inside ? server.internal : server.brokers))
  beforeAll(async () => {
    server = await startKafka({ ...options, ...(proxied && { advertise }) })
    await backend.open()
  })
  afterAll(async () => {
    await backend.close()
    proxy?.close()
    await server?.stop()
  })
  return {
    get server() {
      return server
    },
    get proxy() {
      return proxy!
    },
    backend,
    scenario: scenarios(backend),
  }
}
