import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, release, totalmem, type } from 'node:os'
import { KAFKA_VERSION } from '../test/kafka/java.js'
import { run } from '../test/kafka/run.js'

const versionOf = (name: string): string => createRequire(import.meta.url)(`${name}/package.json`).version

/** The text below the tables: the date, the machine and all versions. */
export async function circumstances(ownKafka: boolean): Promise<string> {
  const [cpu] = cpus()
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`
  const machine = `${cpus().length} cores (${cpu!.model.trim()}), ${memory}, ${type()} ${release()}`
  const kafka = ownKafka ? `Apache Kafka ${KAFKA_VERSION} (one node) on the same machine` : 'the Kafka of KAFKA_BROKERS'
  const own = `Node ${process.versions.node}, kafkajs ${versionOf('kafkajs')}, rxjs ${versionOf('rxjs')}`
  return [
    `Measured on ${new Date().toISOString().slice(0, 10)}: ${machine}; ${kafka}; ${own}.`,
    await peersLine(),
  ].join('\n')
}

/** The versions of the other clients that are installed. */
async function peersLine(): Promise<string> {
  const packages = ['platformatic-kafka-1', 'platformatic-kafka-2', `node-${process.platform}-${process.arch}`]
  const npm = packages.map(name => {
    const version = peerVersion(name)
    if (version === undefined) return undefined
    return name.startsWith('node-') ? `Node ${version}` : `@platformatic/kafka ${version}`
  })
  const known = [...npm, await goVersions()].filter(version => version !== undefined)
  return known.length === 0 ? 'No other clients are installed.' : `Other clients: ${known.join(', ')}.`
}

function peerVersion(name: string): string | undefined {
  try {
    return createRequire(import.meta.url)(`./peers/node_modules/${name}/package.json`).version
  } catch {
    return undefined
  }
}

async function goVersions(): Promise<string | undefined> {
  try {
    const [, version] = /go(\d[\d.]*)/.exec(await run('go', ['version']))!
    const [, franz] = /franz-go v([\d.]+)/.exec(readFileSync(new URL('./go/go.mod', import.meta.url), 'utf8'))!
    return `Go ${version} with franz-go ${franz}`
  } catch {
    return undefined
  }
}
