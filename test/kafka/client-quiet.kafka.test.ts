import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Subject } from 'rxjs'
import { expect, onTestFinished } from 'vitest'
import { Collected } from '../contract/collected'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'

const root = fileURLToPath(new URL('../..', import.meta.url))
const script = fileURLToPath(new URL('./quiet-program.ts', import.meta.url))
/** The Node that runs the program. RXMIKA_NODE names another version, because versions differ in their warnings. */
const node = process.env.RXMIKA_NODE || process.execPath

interface Told {
  readonly event?: string
  readonly topic?: string
  readonly error?: string
  readonly closed?: object
}

describeOwnKafka('a client’s process', () => {
  const kafka = ownKafka({ proxied: true })
  const { scenario } = kafka

  scenario('prints nothing and does not crash while all brokers stop and start', async world => {
    const topic = await world.topic('orders', 2)
    const retryTopic = await world.topic('retries')
    const task = { brokers: kafka.server.brokers, group: world.name('group'), topic, retryTopic }
    const child = spawn(node, ['--trace-warnings', '--import', 'tsx', script, JSON.stringify(task)], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    })
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    let printed = ''
    child.stderr!.on('data', chunk => {
      printed += chunk
    })
    const messages = new Subject<Told>()
    const told = new Collected(messages)
    child.on('message', message => messages.next(message as Told))
    const exited = new Promise(resolve => {
      child.once('close', (code, signal) => {
        messages.complete()
        resolve({ code, signal })
      })
    })
    const count = (event: string) => told.values.filter(each => each.event === event).length
    const more = async (event: string, by = 1) => {
      const least = count(event) + by
      await told.until(() => count(event) >= least)
    }
    await more('retried')
    for (let outage = 0; outage < 3; outage++) {
      await more('committed')
      kafka.proxy.close()
      await more('disconnected')
      await kafka.proxy.open()
      await more('reconnected')
    }
    // For so long that the outage is reported as an error. Requests of all kinds fail meanwhile.
    await more('committed')
    kafka.proxy.close()
    await told.until(values => values.some(({ error }) => error === 'RXMIKA_CONNECTION'))
    await kafka.proxy.open()
    await more('committed')
    child.send('close')
    expect(await exited).toEqual({ code: 0, signal: null })
    expect(printed).toBe('')
  })
})
