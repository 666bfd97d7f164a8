import { Kafka, logLevel } from 'kafkajs'
import { catchError, filter, firstValueFrom, lastValueFrom, Subject, startWith, tap } from 'rxjs'
import {
  type ClientOptions,
  ConfigurationError,
  FetchError,
  PublishError,
  RxMikaError,
  UnroutableFailureError,
} from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { command } from '../cli-command'
import { Collected } from '../contract/collected'
import { kafkaBackend } from '../contract/kafka-backend'
import { type Run, scenarios, texts, type World } from '../contract/world'
import { Acls, type Right } from './acls'
import { describeOwnKafka } from './describe-kafka'
import { type KafkaServer, startKafka } from './kafka-server'
import type { Sasl } from './security'

const password = 'correct-horse'
/** One user for each scenario, because some rights hold for all topics of a user. */
const users = Array.from({ length: 20 }, (_, at): Sasl => ({ mechanism: 'PLAIN', username: `service-${at}`, password }))
const admin: Sasl = { mechanism: 'PLAIN', username: 'admin', password }

/** The maximum time until a client reports a missing right, ms. */
const soon = 5_000

describeOwnKafka('a client on a Kafka with an authorizer', () => {
  let server: KafkaServer
  let acls: Acls
  let nextUser = 0
  const backend = kafkaBackend(() => server.internal)
  const scenario = scenarios(backend)

  beforeAll(async () => {
    server = await startKafka({
      sasl: [admin, ...users],
      config: {
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        // ANONYMOUS uses the listener without a login, which is for the nodes and this test.
        'super.users': 'User:ANONYMOUS;User:admin',
        'auto.create.topics.enable': false,
      },
    })
    acls = new Acls(server.internal)
    await Promise.all([backend.open(), acls.open()])
  })
  afterAll(async () => {
    await Promise.all([backend.close(), acls?.close()])
    await server?.stop()
  })

  async function commitAt(groupId: string, topic: string, offset: number): Promise<void> {
    const admin = new Kafka({ brokers: server.internal, logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: String(offset) }] })
    await admin.disconnect()
  }

  async function deleteTopic(topic: string): Promise<void> {
    const admin = new Kafka({ brokers: server.internal, logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    await admin.deleteTopics({ topics: [topic] })
    await admin.disconnect()
  }

  interface Service {
    readonly user: string
    readonly group: string
    readonly topic: string
    readonly retryTopic: string
    readonly dlqTopic: string
    readonly rights: readonly Right[]
    readonly options: ClientOptions
  }

  /** A service account with all rights that a service needs, except those that are left out. */
  async function service(world: World, without: readonly string[] = [], more: (of: Service) => Right[] = () => []) {
    const names = ['orders', 'retries', 'dead'].map(name => world.topic(name))
    const [topic, retryTopic, dlqTopic] = (await Promise.all(names)) as [string, string, string]
    const { username } = users[nextUser++]!
    const group = world.name('billing')
    const rights: readonly Right[] = [
      ['read', 'group', group],
      ['read', 'topic', topic],
      ['read', 'topic', retryTopic],
      ['write', 'topic', retryTopic],
      ['read', 'topic', dlqTopic],
      ['write', 'topic', dlqTopic],
    ]
    const nameOf = ([operation, , name]: Right) => `${operation} ${name.slice(0, name.lastIndexOf('-'))}`
    expect(rights.map(nameOf)).toEqual(expect.arrayContaining([...without]))
    const options: ClientOptions = {
      brokers: server.brokers,
      sasl: { mechanism: 'plain', username, password },
    }
    const made: Service = { user: username, group, topic, retryTopic, dlqTopic, rights, options }
    const granted = [...rights.filter(right => !without.includes(nameOf(right))), ...more(made)]
    if (granted.length > 0) await acls.grant(username, granted)
    return made
  }

  /** A client that closes soon, by an error that names the missing right. */
  async function closes(run: Run, ...names: readonly (string | RegExp)[]): Promise<RxMikaError> {
    const begun = performance.now()
    run.client.start()
    const report = await run.client.closed
    expect(performance.now() - begun).toBeLessThan(soon)
    const error = run.errors.values.at(-1)!
    for (const name of names) expect(error.message).toMatch(name)
    expect(run.client.currentState).toBe('closed')
    expect(report.unsettled).toBe(0)
    return error
  }

  scenario('works with READ on topic and group, and READ and WRITE on retry and DLQ topics', async world => {
    const { group, topic, retryTopic, dlqTopic, options } = await service(world)
    const run = world.client({ group, retryTopic, dlqTopic, ...options })
    const attempts = new Collected(
      run.client.topic(topic, { retries: 1, dlq: true }).pipe(
        tap(record => {
          if (String(record.value) === 'good' || record.source.kind === 'dlq') record.ack()
          else record.fail(new Error('bad'))
        }),
      ),
    )
    await run.start()
    await backend.publish(topic, [{ value: 'good' }, { value: 'bad' }])
    await run.event('dead-lettered')
    await run.committed(topic, 0, 2)
    await run.committed(retryTopic, 0, 1)
    expect(texts(attempts)).toEqual(['good', 'bad', 'bad'])
    await lastValueFrom(run.client.replayDlq())
    await run.committed(dlqTopic, 0, 1)
    expect(texts(attempts)).toEqual(['good', 'bad', 'bad', 'bad'])
    // The right to write the topic is enough to publish to it.
    const [place] = await lastValueFrom(run.client.publish({ topic: retryTopic, value: 'of nobody' }))
    expect(place).toMatchObject({ topic: retryTopic, partition: 0, offset: 1n })
    expect(await run.client.closeGracefully()).toMatchObject({ drained: true, unsettled: 0 })
    expect(run.events.values.map(({ type }) => type)).not.toContain('restarted')
  })

  scenario('reads a range of a topic with READ on it only, and errors with the missing right', async world => {
    const { topic, group, options } = await service(world, [
      ...['read billing', 'read retries', 'write retries', 'read dead', 'write dead'],
    ])
    await backend.publish(topic, [{ value: '0' }])
    const run = world.client({ group, ...options })
    const read = new Collected(run.client.read(topic))
    expect(await read.ended()).toEqual({})
    expect(texts(read)).toEqual(['0'])

    const other = await world.topic('other')
    const { error } = await new Collected(run.client.read(other)).ended()
    expect(error).toBeInstanceOf(RxMikaError)
    expect(String(error)).toMatch(new RegExp(`'${other}'.*READ`))
    // The refused read closes no client, and creates no topic.
    expect(run.client.currentState).toBe('idle')
  })

  scenario('closes with an error that names the group, without any right to it', async world => {
    const { group, topic, options } = await service(world, ['read billing'])
    const run = world.client({ group, ...options })
    run.expected = [FetchError]
    const records = new Collected(run.client.topic(topic))
    const error = await closes(run, `group '${group}'`, /\bREAD\b/)
    expect(records.end).toEqual({ error })
  })

  scenario('closes with an error that names the group, with DESCRIBE on it only', async world => {
    const { group, topic, options } = await service(world, ['read billing'], made => [
      ['describe', 'group', made.group],
    ])
    const run = world.client({ group, ...options })
    run.expected = [FetchError]
    run.client.topic(topic).subscribe({ error: () => {} })
    await closes(run, `group '${group}'`, /\bREAD\b/)
  })

  scenario('closes with an error that names the group, when the right to it is revoked', async world => {
    const { user, group, topic, options } = await service(world)
    const run = world.client({ group, ...options })
    run.expected = [RxMikaError]
    run.client.topic(topic).subscribe({ error: () => {} })
    await run.start()
    await acls.revoke(user, [['read', 'group', group]])
    const begun = performance.now()
    await run.client.closed
    expect(performance.now() - begun).toBeLessThan(soon)
    expect(run.errors.values.at(-1)!.message).toContain(`group '${group}'`)
    expect(run.errors.values.at(-1)!.message).toMatch(/\bREAD\b/)
  })

  for (const groupProtocol of ['classic', 'consumer', undefined] as const) {
    for (const [what, why] of [
      ['right to it is taken away', /may not read topic .*\bREAD\b/],
      ['topic is deleted', /topic .* is gone/],
    ] as const) {
      const title = `errors the stream of one topic alone when the ${what}, and reads it when that is over (${groupProtocol ?? 'no group'})`
      scenario(title, async world => {
        const { user, group, topic, options } = await service(world)
        const kept = await world.topic('kept')
        await acls.grant(user, [['read', 'topic', kept]])
        for (const each of [topic, kept]) await backend.publish(each, [{ value: '0' }])
        const run = world.client({
          ...{ ...options, metadataMaxAge: 500 },
          ...(groupProtocol !== undefined && { group, groupProtocol }),
        })
        run.expected = [FetchError]
        const streams = { broken: 0 }
        const orders: string[] = []
        const read = new Subject<void>()
        run.client
          .topic(topic)
          .pipe(
            catchError((error, again) => {
              streams.broken++
              expect(error).toMatchObject({ code: 'RXMIKA_FETCH', topic })
              expect(error.message).toMatch(why)
              read.next()
              return again
            }),
          )
          .subscribe(record => {
            orders.push(String(record.value))
            record.ack()
            read.next()
          })
        const others = new Collected(run.client.topic(kept).pipe(tap(record => record.ack())))
        await run.start()
        const until = (condition: () => boolean) => firstValueFrom(read.pipe(startWith(undefined), filter(condition)))
        await Promise.all([until(() => orders.length > 0), others.count(1)])

        if (what === 'topic is deleted') await deleteTopic(topic)
        else await acls.revoke(user, [['read', 'topic', topic]])
        await until(() => streams.broken > 0)
        await backend.publish(kept, [{ value: '1' }])
        await others.count(2)
        if (groupProtocol !== undefined) await run.committed(kept, 0, 2)

        if (what === 'topic is deleted') await backend.createTopic(topic, 1)
        else await acls.grant(user, [['read', 'topic', topic]])
        const again = kafkaBackend(() => server.internal)
        await again.open()
        await again.publish(topic, [{ value: 'again' }])
        await again.close()
        await until(() => orders.includes('again'))
        await backend.publish(kept, [{ value: '2' }])
        await others.count(3)
        expect(texts(others.values)).toEqual(['0', '1', '2'])
        expect(streams.broken).toBe(1)
        expect(run.client.currentState).toBe('running')
        if (groupProtocol !== undefined) {
          await run.committed(kept, 0, 3)
          expect(await backend.committed(group, kept, 0)).toBe(3n)
        }
      })
    }
  }

  scenario('closes with an error that names the topic, without any right to it', async world => {
    const { group, topic, options } = await service(world, ['read orders'])
    const run = world.client({ group, ...options })
    run.expected = [ConfigurationError]
    run.client.topic(topic).subscribe({ error: () => {} })
    await closes(run, `topic '${topic}'`, /\bREAD\b/)
  })

  for (const [what, right] of [
    ['topic', 'orders'],
    ['retry topic', 'retries'],
  ] as const) {
    scenario(`closes with an error that names the ${what}, with DESCRIBE on it only`, async world => {
      const { group, topic, retryTopic, dlqTopic, options } = await service(world, [`read ${right}`], made => {
        return [['describe', 'topic', right === 'orders' ? made.topic : made.retryTopic]]
      })
      const run = world.client({ group, retryTopic, dlqTopic, ...options })
      run.expected = [FetchError]
      run.client.topic(topic).subscribe({ error: () => {} })
      const name = right === 'orders' ? topic : retryTopic
      const error = await closes(run, `topic '${name}'`, /\bREAD\b/)
      expect((error as FetchError).topic).toBe(name)
    })
  }

  scenario('dead-letters without READ on the DLQ topic, and errors only a replay, which needs it', async world => {
    const { group, topic, dlqTopic, options } = await service(world, ['read dead'])
    const run = world.client({ group, dlqTopic, ...options })
    run.expected = [FetchError]
    run.client.topic(topic, { dlq: true }).subscribe({
      next: record => record.fail(new Error('bad')),
      error: () => {},
    })
    await run.start()
    await backend.publish(topic, [{ value: 'bad' }])
    await run.committed(topic, 0, 1)
    expect(texts(await backend.records(dlqTopic))).toEqual(['bad'])
    await expect(lastValueFrom(run.client.replayDlq())).rejects.toMatchObject({ name: 'FetchError', topic: dlqTopic })
    expect(run.client.currentState).toBe('running')
  })

  // A client without a group is no group for the broker, so it needs no right to one.
  scenario('needs only READ on the topic, without a group', async world => {
    const { topic, options } = await service(world, ['read billing'])
    await backend.publish(topic, [{ value: 'bill' }])
    const run = world.client(options)
    const records = new Collected(run.client.topic(topic))
    await run.start()
    await records.count(1)
    expect(texts(records.values)).toEqual(['bill'])
  })

  scenario('goes to the next step without WRITE on the retry topic', async world => {
    const { group, topic, retryTopic, dlqTopic, options } = await service(world, ['write retries'])
    const run = world.client({ group, retryTopic, dlqTopic, ...options })
    run.expected = [PublishError]
    run.client
      .topic(topic, { retries: 3, dlq: true })
      .subscribe(record => (String(record.value) === 'good' ? record.ack() : record.fail(new Error('bad'))))
    await run.start()
    await backend.publish(topic, [{ value: 'bad' }, { value: 'good' }])
    await run.event('dead-lettered')
    await run.committed(topic, 0, 2)
    expect(await backend.records(retryTopic)).toEqual([])
    expect(texts(await backend.records(dlqTopic))).toEqual(['bad'])
  })

  scenario('holds a failed record, with the reason, without WRITE on the last topic of its route', async world => {
    const { group, topic, dlqTopic, options } = await service(world, ['write dead'])
    const run = world.client({ group, dlqTopic, ...options })
    run.expected = [PublishError, UnroutableFailureError]
    run.client
      .topic(topic, { dlq: true })
      .subscribe(record => (String(record.value) === 'good' ? record.ack() : record.fail(new Error('bad'))))
    await run.start()
    await backend.publish(topic, [{ value: 'good' }, { value: 'bad' }, { value: 'good' }])
    await run.committed(topic, 0, 1)
    const errors = await run.errors.until(all => all.some(error => error instanceof UnroutableFailureError))
    const refused = errors.find(error => error instanceof UnroutableFailureError)!
    expect(refused).toMatchObject({ topic, partition: 0, offset: 1n })
    expect(errors.map(error => allOf(error)).join('\n')).toMatch(/TOPIC_AUTHORIZATION_FAILED/)
    expect(errors.map(error => allOf(error)).join('\n')).toContain(dlqTopic)
    expect(run.client.stalls()).toMatchObject([{ topic, partition: 0, offset: 1n, why: 'unroutable' }])
    expect(await backend.committed(group, topic, 0)).toBe(1n)
    expect(await backend.records(dlqTopic)).toEqual([])
  })

  scenario('errors publish with the name of the topic if WRITE is missing', async world => {
    const { topic, options } = await service(world)
    const run = world.client(options)
    const begun = performance.now()
    const refused = await lastValueFrom(run.client.publish({ topic, value: '0' })).catch(error => error)
    expect(performance.now() - begun).toBeLessThan(soon)
    expect(refused).toBeInstanceOf(PublishError)
    expect(refused).toMatchObject({ retriable: false, topic })
    expect(allOf(refused)).toMatch(/TOPIC_AUTHORIZATION_FAILED|not authorized/i)
  })

  scenario(
    'runs the commands for dead letters with the rights that the docs name, and names the one that is missing',
    async world => {
      const names = ['read billing', 'read orders', 'read retries', 'write retries', 'read dead', 'write dead']
      const made = await service(world, names)
      const { user, group, retryTopic, dlqTopic } = made
      const headers = { [`mika_err_${group}_org_topic`]: 'orders', [`mika_err_${group}_retries`]: '0' }
      await backend.publish(dlqTopic, [{ value: 'v', headers }])
      const env = {
        KAFKA_BROKERS: server.brokers.join(),
        KAFKA_SASL_MECHANISM: 'PLAIN',
        KAFKA_SASL_USERNAME: user,
        KAFKA_SASL_PASSWORD: password,
      }
      const flags = ['--dlq-topic', dlqTopic, '--retry-topic', retryTopic, '--json']
      const refuses = async (args: readonly string[], what: RegExp) => {
        const { code, out, err } = await command(['dlq', ...args, ...flags], { env })
        expect(out).toBe('')
        expect(err).toMatch(what)
        expect(code).not.toBe(0)
      }
      await refuses(['ls'], new RegExp(`may not use topic '${dlqTopic}'.*needs READ on it`))
      await acls.grant(user, [['read', 'topic', dlqTopic]])
      await refuses(['ls'], new RegExp(`group '${group}': the user needs DESCRIBE on that group`))
      await acls.grant(user, [['describe', 'group', group]])
      const listed = await command(['dlq', 'ls', ...flags], { env })
      expect(listed).toMatchObject({ code: 0, err: '' })
      expect(JSON.parse(listed.out)).toMatchObject({ group, count: 1 })

      const redrive = ['redrive', '--yes']
      await refuses(redrive, new RegExp(`--retry-topic: may not use topic '${retryTopic}'`))
      await acls.grant(user, [['write', 'topic', retryTopic]])
      await refuses(redrive, new RegExp(`needs WRITE on transactional id 'rxmika-redrive.${group}'`))
      await acls.grant(user, [['write', 'transaction', `rxmika-redrive.${group}`]])
      await refuses(
        redrive,
        new RegExp(
          '0 of 1 dead letter .*untouched: its partitions could not be added to the transaction: TOPIC_AUTHORIZATION_FAILED.*' +
            `needs WRITE on '${retryTopic}' and '${dlqTopic}'`,
        ),
      )
      await acls.grant(user, [['write', 'topic', dlqTopic]])
      const redriven = await command(['dlq', ...redrive, ...flags], { env })
      expect(redriven.code).toBe(0)
      expect(JSON.parse(redriven.out)).toEqual({ group, redriven: 1, skipped: 0 })
      expect(texts(await backend.records(retryTopic))[0]).toBe('v')
      expect(await command(['dlq', 'ls', ...flags], { env })).toEqual({ code: 0, out: '', err: '' })

      // A broker leaves topics out that a user may not see.
      const { topic } = made
      await commitAt(group, topic, 1)
      const lag = ['lag', group, '--json']
      expect(await command(lag, { env })).toMatchObject({
        code: 1,
        err: expect.stringMatching(new RegExp(`group '${group}' has committed nothing.*DESCRIBE on its topics`)),
      })
      await acls.grant(user, [['describe', 'topic', topic]])
      const shown = await command(lag, { env })
      expect(shown).toMatchObject({ code: 0, err: '' })
      expect(JSON.parse(shown.out)).toMatchObject({ topic, partition: 0, committed: 1 })
    },
  )
})

/** The messages of an error and of its causes. */
function allOf(error: unknown): string {
  return error instanceof Error ? `${error.message}\n${allOf(error.cause)}` : ''
}
