import { answers } from './answers'
import { KAFKA_VERSION } from './java'
import { clusterPorts } from './kafka-server'
import { run, Unavailable } from './run'
import { type Properties, serverProperties } from './server-properties'
import { watchdog } from './watchdog'

export interface DockerKafka {
  brokers: string[]
  stop(): Promise<void>
}

/** Starts one Kafka node in a container, removed with this process; rejects with `Unavailable` without Docker. */
export const startDockerKafka = async (version = KAFKA_VERSION): Promise<DockerKafka> => {
  const image = `apache/kafka:${version}`
  await requireImage(image)
  const nodes = await clusterPorts(1)
  const port = nodes[0]!.client
  const name = `rxmika-kafka-${port}`
  const layout = { nodes, bind: '0.0.0.0', logDir: '/tmp/kafka-logs', protocol: 'PLAINTEXT' } as const
  const environment = [...settings(serverProperties(1, layout)), '-e', 'KAFKA_HEAP_OPTS=-Xmx512m']
  const container = watchdog('docker rm -f -v "$0"', name)
  const started = new AbortController()
  try {
    await run('docker', ['run', '-d', '--name', name, '-p', `127.0.0.1:${port}:${port}`, ...environment, image])
    const ended = run('docker', ['wait', name]).then(() => Promise.reject(new Error(`the container ${name} ended:`)))
    await Promise.race([answers({ brokers: [`127.0.0.1:${port}`] }, { signal: started.signal }), ended])
  } catch (error) {
    const log = await run('docker', ['logs', '--tail', '30', name]).catch(() => '')
    await container.end()
    throw new Error(`${(error as Error).message}\n${log}`)
  } finally {
    started.abort()
  }
  return { brokers: [`127.0.0.1:${port}`], stop: () => container.end() }
}

const requireImage = async (image: string): Promise<void> => {
  const because = (what: string) => (error: Error) => {
    throw error instanceof Unavailable ? error : new Unavailable(what)
  }
  await run('docker', ['info', '--format', '{{.ServerVersion}}'], 15_000).catch(because('Docker is not running'))
  const pull = () => run('docker', ['pull', '-q', image])
  await run('docker', ['image', 'inspect', image])
    .catch(pull)
    .catch(because(`the image ${image} could not be pulled`))
}

/** The image makes its server.properties from environment variables: KAFKA_LOG_DIRS for `log.dirs`. */
const settings = (properties: Properties): string[] =>
  Object.entries(properties).flatMap(([key, value]) => [
    '-e',
    `KAFKA_${key.replaceAll('.', '_').toUpperCase()}=${value}`,
  ])
