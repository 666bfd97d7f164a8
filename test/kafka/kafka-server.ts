import { randomBytes } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { answers } from './answers'
import { classArchive } from './class-archive'
import { freePorts } from './free-ports'
import { KAFKA_VERSION, kafkaClassPath } from './java'
import { KafkaNode, KILL_NODES } from './kafka-node'
import { type Sasl, secure } from './security'
import { type NodePorts, type Properties, serverProperties } from './server-properties'
import { watchdog } from './watchdog'

export interface KafkaOptions {
  /** The version of Apache Kafka. Defaults to RXMIKA_KAFKA_VERSION, or the newest that this project is tested with. */
  version?: string
  /** The number of nodes. Defaults to 1. With 3, every topic has three replicas, so that one node can be killed. */
  brokers?: number
  /** Clients have to log in as one of these users. The start-up check uses the first one. */
  sasl?: Sasl | readonly Sasl[]
  /** Clients have to connect by TLS, trusting {@link KafkaServer.ca}. */
  tls?: boolean
  /** Returns the advertised address for a node's `host:port`, for example that of a proxy. */
  advertise?: (address: string) => Promise<string>
  /** The advertised addresses are unreachable, so the start-up check bypasses them. */
  unreachable?: boolean
  /** More server.properties, or other values for them. */
  config?: Properties
  /** Optimises for minutes of load, at the price of a slower start. */
  longLived?: boolean
}

export interface KafkaServer {
  /** Of Apache Kafka. */
  version: string
  /** `host:port` of each node; that of node 1 is the first. */
  brokers: string[]
  /** `host:port` of each node for the other nodes: plain text, without proxies. */
  internal: string[]
  /** The certificate to trust, in PEM. */
  ca?: string
  /** Kills all nodes and removes their data. */
  stop(): Promise<void>
  /** Kills a node by SIGKILL, without an orderly shutdown. */
  kill(node: number): Promise<void>
  /** Starts a node again, on its port and data, and resolves when it answers; one that runs is killed first. */
  restart(node: number): Promise<void>
  /** Stops a node by SIGSTOP: its connections stay open, and it does not answer. */
  pause(node: number): Promise<void>
  resume(node: number): void
}

/**
 * Starts a Kafka on free ports of this machine and resolves when all its nodes answer.
 *
 * Needs Java 17 or newer, and Maven when the jars are not kept yet. The nodes end with this process, even when it is
 * killed. Rejects with the end of the log when a node ends while starting.
 */
export const startKafka = async (options: KafkaOptions = {}): Promise<KafkaServer> => {
  const classPath = await kafkaClassPath(options.version)
  const folder = await mkdtemp(join(tmpdir(), 'rxmika-kafka-'))
  const guard = watchdog(KILL_NODES, folder)
  try {
    const jvm = [`-XX:SharedArchiveFile=${await classArchive(classPath, clusterId())}`]
    // Optimised compilation takes longer than most of these servers run.
    if (options.longLived !== true) jvm.push('-XX:TieredStopAtLevel=1')
    const { nodes, internal, client, ca } = await formatNodes(folder, classPath, jvm, options)

    const start = async (...starting: KafkaNode[]) => {
      const done = new AbortController()
      const ready = starting.map(node => {
        node.start()
        const inside = { brokers: [internal[nodes.indexOf(node)]!] }
        const config = options.unreachable ? inside : { ...client, brokers: [node.address] }
        const brokers = starting.length
        return Promise.race([answers(config, { brokers, signal: done.signal }), node.failure()])
      })
      await Promise.all(ready).finally(() => done.abort())
    }

    const node = (id: number) => {
      const found = nodes[id - 1]
      if (!found) throw new Error(`there is no node ${id}: nodes are numbered from 1 to ${nodes.length}`)
      return found
    }

    await start(...nodes)
    return {
      version: options.version ?? KAFKA_VERSION,
      brokers: nodes.map(({ advertised }) => advertised),
      internal,
      ca,
      async stop() {
        // The watchdog does it, so that every test also checks the clean-up after a crash.
        await guard.end()
        await Promise.all(nodes.map(each => each.end()))
      },
      kill: async id => node(id).kill(),
      async restart(id) {
        await node(id).kill()
        await start(node(id))
      },
      pause: async id => node(id).pause(),
      resume: id => node(id).resume(),
    }
  } catch (error) {
    await guard.end()
    throw error
  }
}

const formatNodes = async (folder: string, classPath: string, jvm: readonly string[], options: KafkaOptions) => {
  const security = await secure(folder, options)
  const ports = await clusterPorts(options.brokers ?? 1)
  const id = clusterId()
  const nodes = ports.map(async ({ client }, i) => {
    const home = join(folder, `${i + 1}`)
    const address = `127.0.0.1:${client}`
    const advertised = (await options.advertise?.(address)) ?? address
    const node = new KafkaNode(home, classPath, jvm, address, advertised)
    const logDir = join(home, 'data')
    const layout = { nodes: ports, bind: '127.0.0.1', logDir, advertised, protocol: security.protocol }
    const properties = { ...serverProperties(i + 1, layout), ...security.properties, ...options.config }
    await node.format(id, properties, security.format)
    return node
  })
  const internal = ports.map(port => `127.0.0.1:${port.internal}`)
  return { nodes: await Promise.all(nodes), internal, client: security.client, ca: security.ca }
}

export const clusterPorts = async (nodes: number): Promise<NodePorts[]> => {
  const ports = await freePorts(3 * nodes)
  return Array.from({ length: nodes }, (_, i) => {
    const [client, internal, controller] = ports.slice(3 * i)
    return { client: client!, internal: internal!, controller: controller! }
  })
}

/** 16 bytes in base64url. The first is 0, because an id that starts with a dash would be taken for an option. */
const clusterId = () => Buffer.from([0, ...randomBytes(15)]).toString('base64url')
