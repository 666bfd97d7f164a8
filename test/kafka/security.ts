import { join } from 'node:path'
import type { KafkaConfig, SASLOptions } from 'kafkajs'
import { javaProgram } from './java'
import { run } from './run'
import type { Properties, ServerLayout } from './server-properties'

export interface Sasl {
  mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512' | 'OAUTHBEARER'
  username: string
  /** Absent for `OAUTHBEARER`, whose tokens are unsigned here. */
  password: string
}

export interface Security {
  protocol: ServerLayout['protocol']
  /** For server.properties. */
  properties: Properties
  /** For `StorageTool format`: SCRAM users are records of the metadata log, written before the first start. */
  format: string[]
  /** The options of a client that is accepted. */
  client: Pick<KafkaConfig, 'ssl' | 'sasl'>
  /** The certificate to trust, in PEM. */
  ca?: string
}

/** Everything the clients' listener needs for SASL, TLS, both or neither; certificates are written to `folder`. */
export const secure = async (
  folder: string,
  options: { sasl?: Sasl | readonly Sasl[]; tls?: boolean },
): Promise<Security> => {
  const tls = options.tls ? await certify(folder) : undefined
  const users = [options.sasl ?? []].flat()
  const [sasl] = users
  return {
    protocol: sasl ? (tls ? 'SASL_SSL' : 'SASL_PLAINTEXT') : tls ? 'SSL' : 'PLAINTEXT',
    properties: { ...(sasl && saslProperties(users)), ...tls?.properties },
    format: users
      .filter(({ mechanism }) => mechanism.startsWith('SCRAM'))
      .flatMap(user => ['--add-scram', scramUser(user)]),
    client: { ...(sasl && { sasl: saslClient(sasl) }), ...(tls && { ssl: { ca: tls.ca } }) },
    ca: tls?.ca,
  }
}

const scramUser = ({ mechanism, username, password }: Sasl) => `${mechanism}=[name=${username},password=${password}]`

const saslClient = ({ mechanism, username, password }: Sasl) =>
  ({ mechanism: mechanism.toLowerCase(), username, password }) as SASLOptions

const saslProperties = (users: readonly Sasl[]): Properties => {
  const mechanisms = [...new Set(users.map(({ mechanism }) => mechanism))]
  const plain = users.filter(({ mechanism }) => mechanism === 'PLAIN')
  const passwords = plain.map(({ username, password }) => ` user_${username}="${password}"`).join('')
  const loginModules = {
    PLAIN: `org.apache.kafka.common.security.plain.PlainLoginModule required${passwords};`,
    'SCRAM-SHA-256': 'org.apache.kafka.common.security.scram.ScramLoginModule required;',
    'SCRAM-SHA-512': 'org.apache.kafka.common.security.scram.ScramLoginModule required;',
    OAUTHBEARER:
      'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
  }
  return {
    'sasl.enabled.mechanisms': mechanisms.join(','),
    ...Object.fromEntries(
      mechanisms.map(mechanism => [
        `listener.name.client.${mechanism.toLowerCase()}.sasl.jaas.config`,
        loginModules[mechanism],
      ]),
    ),
  }
}

/** One self-signed certificate is the server's and its own authority. `keytool` comes with Java, `openssl` may not. */
const certify = async (folder: string): Promise<{ ca: string; properties: Properties }> => {
  const location = join(folder, 'server.p12')
  const password = 'rxmika'
  const store = ['-alias', 'server', '-storetype', 'PKCS12', '-keystore', location, '-storepass', password]
  const names = ['-dname', 'CN=localhost', '-ext', 'san=ip:127.0.0.1,dns:localhost']
  const keytool = javaProgram('keytool')
  await run(keytool, ['-genkeypair', '-keyalg', 'EC', '-groupname', 'secp256r1', '-validity', '30', ...names, ...store])
  return {
    ca: await run(keytool, ['-exportcert', '-rfc', ...store]),
    properties: {
      'listener.name.client.ssl.keystore.type': 'PKCS12',
      'listener.name.client.ssl.keystore.location': location,
      'listener.name.client.ssl.keystore.password': password,
    },
  }
}
