import {
  AclOperationTypes,
  AclPermissionTypes,
  AclResourceTypes,
  type Admin,
  Kafka,
  logLevel,
  ResourcePatternTypes,
} from 'kafkajs'

const resources = {
  topic: AclResourceTypes.TOPIC,
  group: AclResourceTypes.GROUP,
  transaction: AclResourceTypes.TRANSACTIONAL_ID,
}
const operations = {
  read: AclOperationTypes.READ,
  write: AclOperationTypes.WRITE,
  describe: AclOperationTypes.DESCRIBE,
}

/** One operation on one resource, with the names of `kafka-acls`. */
export type Right = readonly [
  operation: keyof typeof operations,
  resource: keyof typeof resources,
  /** The resource's name. */
  name: string,
]

/** The ACLs of a Kafka with an authorizer, changed as a super user. */
export class Acls {
  readonly #admin: Admin

  constructor(brokers: readonly string[]) {
    this.#admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin()
  }

  open(): Promise<void> {
    return this.#admin.connect()
  }

  close(): Promise<void> {
    return this.#admin.disconnect()
  }

  /** Resolves once the broker applies it. */
  async grant(user: string, rights: readonly Right[]): Promise<void> {
    await this.#admin.createAcls({ acl: rights.map(right => ({ ...entry(user, right) })) })
    for (const right of rights) while (!(await this.#has(user, right))) {}
  }

  /** Resolves once the broker applies it. */
  async revoke(user: string, rights: readonly Right[]): Promise<void> {
    await this.#admin.deleteAcls({ filters: rights.map(right => entry(user, right)) })
    for (const right of rights) while (await this.#has(user, right)) {}
  }

  async #has(user: string, right: Right): Promise<boolean> {
    const { resources } = await this.#admin.describeAcls(entry(user, right))
    return resources.some(({ acls }) => acls.length > 0)
  }
}

function entry(user: string, [operation, resource, resourceName]: Right) {
  return {
    resourceType: resources[resource],
    resourceName,
    resourcePatternType: ResourcePatternTypes.LITERAL,
    principal: `User:${user}`,
    host: '*',
    operation: operations[operation],
    permissionType: AclPermissionTypes.ALLOW,
  }
}
