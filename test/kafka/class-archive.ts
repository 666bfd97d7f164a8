import { existsSync } from 'node:fs'
import { copyFile, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { answers } from './answers'
import { freePorts } from './free-ports'
import { KafkaNode, KILL_NODES } from './kafka-node'
import { serverProperties } from './server-properties'
import { watchdog } from './watchdog'

/**
 * An archive of Kafka's loaded and verified classes (the JVM's "class data sharing"), which halves the work of starting a node.
 * The first call writes it next to the jars, from the classes that a node has loaded when it ends. If the archive does not match
 * the version or the place of the jars, the JVM loads its classes as usual.
 */
export async function classArchive(classPath: string, clusterId: string): Promise<string> {
  const archive = join(dirname(classPath), '..', 'server.jsa')
  if (existsSync(archive)) return archive
  const folder = await mkdtemp(join(tmpdir(), 'rxmika-kafka-'))
  const guard = watchdog(KILL_NODES, folder)
  try {
    const [client, internal, controller] = (await freePorts(3)) as [number, number, number]
    const home = join(folder, '1')
    const address = `127.0.0.1:${client}`
    const fresh = join(folder, 'server.jsa')
    const layout = { nodes: [{ client, internal, controller }], bind: '127.0.0.1', logDir: join(home, 'data') }
    const properties = serverProperties(1, { ...layout, protocol: 'PLAINTEXT' })
    await new KafkaNode(home, classPath, [], address, address).format(clusterId, properties, [])
    const node = new KafkaNode(home, classPath, [`-XX:ArchiveClassesAtExit=${fresh}`], address, address)
    node.start()
    const started = new AbortController()
    await Promise.race([answers({ brokers: [address] }, { signal: started.signal }), node.failure()])
    started.abort()
    await node.terminate()
    // Replaced by a rename, because another run may use it; and from the same folder, because folders may be on several disks.
    const beside = `${archive}-${process.pid}`
    await copyFile(fresh, beside)
    await rename(beside, archive)
    return archive
  } finally {
    await guard.end()
    await rm(folder, { recursive: true, force: true })
  }
}
