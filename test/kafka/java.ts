import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run, Unavailable } from './run'

export const KAFKA_VERSION = process.env.RXMIKA_KAFKA_VERSION || '4.4.0'

const pom = fileURLToPath(new URL('./server/pom.xml', import.meta.url))
const cache = fileURLToPath(new URL('../../.kafka', import.meta.url))

/** A program of the Java installation, `java` or `keytool`. */
export const javaProgram = (name: string): string => {
  const home = process.env.JAVA_HOME
  return home ? join(home, 'bin', name) : name
}

/**
 * The class path of a Kafka server. Its jars are collected by Maven on first use and kept in `.kafka`.
 *
 * Rejects with {@link Unavailable} without Java 17, or if the jars are missing and cannot be downloaded.
 */
export const kafkaClassPath = async (version = KAFKA_VERSION): Promise<string> => {
  await requireJava(17)
  const lib = join(cache, version, 'lib')
  if (!existsSync(lib)) await collectJars(version, lib)
  return join(lib, '*')
}

const requireJava = async (least: number): Promise<void> => {
  // Nodes are started, monitored and stopped by POSIX signals and commands.
  if (process.platform === 'win32') throw new Unavailable('starting Kafka from its jars needs a POSIX system')
  const found = /version "(\d+)/.exec(await run(javaProgram('java'), ['-version']))?.[1]
  if (Number(found) >= least) return
  throw new Unavailable(`Kafka needs Java ${least} or newer, found ${found ?? 'an unknown version'}`)
}

/** Fills a temporary folder first, so that an interrupted or concurrent run leaves no incomplete cache. */
const collectJars = async (version: string, lib: string): Promise<void> => {
  await mkdir(dirname(lib), { recursive: true })
  const fresh = await mkdtemp(`${lib}-`)
  const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime']
  try {
    await run('mvn', ['-q', '-B', '-f', pom, ...goal, `-Dkafka.version=${version}`, `-DoutputDirectory=${fresh}`])
    await rename(fresh, lib)
  } catch (error) {
    await rm(fresh, { recursive: true, force: true })
    if (existsSync(lib)) return // another run was first
    if (error instanceof Unavailable) throw error
    throw new Unavailable(`the jars of Kafka ${version} could not be collected: ${(error as Error).message}`)
  }
}
