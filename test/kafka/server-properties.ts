export type Properties = Record<string, string | number | boolean>

export interface NodePorts {
  client: number
  internal: number
  controller: number
}

export interface ServerLayout {
  /** Ports of all nodes of the cluster; the node with id 1 is the first. */
  nodes: NodePorts[]
  /** The address the ports are opened on. */
  bind: string
  logDir: string
  /** The advertised address of the node. Defaults to its client port on this machine. */
  advertised?: string
  /** The security protocol of the clients' listener. The nodes use plain text among themselves. */
  protocol: 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL'
}

/** The server.properties of one node, each of which is broker and controller. */
export const serverProperties = (id: number, layout: ServerLayout): Properties => {
  const { nodes, bind, logDir, protocol } = layout
  const { client, internal, controller } = nodes[id - 1]!
  const { advertised = `127.0.0.1:${client}` } = layout
  return {
    'process.roles': 'broker,controller',
    'node.id': id,
    'controller.quorum.voters': nodes.map((node, i) => `${i + 1}@127.0.0.1:${node.controller}`).join(','),
    listeners: `CLIENT://${bind}:${client},INTERNAL://${bind}:${internal},CONTROLLER://${bind}:${controller}`,
    'advertised.listeners': `CLIENT://${advertised},INTERNAL://127.0.0.1:${internal}`,
    'inter.broker.listener.name': 'INTERNAL',
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': `CLIENT:${protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT`,
    'log.dirs': logDir,
    'num.partitions': 4,
    'group.initial.rebalance.delay.ms': 0,
    ...replication(nodes.length),
    ...smallInternals,
  }
}

/** With three nodes, every topic survives the loss of one node, and a killed node is detected after 3 s instead of 9 s. */
const replication = (nodes: number): Properties => {
  const factor = Math.min(nodes, 3)
  const inSync = factor === 3 ? 2 : 1
  return {
    'default.replication.factor': factor,
    'min.insync.replicas': inSync,
    'offsets.topic.replication.factor': factor,
    'transaction.state.log.replication.factor': factor,
    'transaction.state.log.min.isr': inSync,
    'share.coordinator.state.topic.replication.factor': factor,
    'share.coordinator.state.topic.min.isr': inSync,
    ...(nodes > 1 && { 'broker.heartbeat.interval.ms': 500, 'broker.session.timeout.ms': 3000 }),
  }
}

/** Makes internal topics small, so that they are created fast, and leaves the heap to records. */
const smallInternals: Properties = {
  'offsets.topic.num.partitions': 4,
  'transaction.state.log.num.partitions': 4,
  'share.coordinator.state.topic.num.partitions': 4,
  'log.cleaner.dedupe.buffer.size': 4 * 1024 * 1024,
}
