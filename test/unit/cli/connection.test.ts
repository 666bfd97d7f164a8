import { describe, expect, it } from 'vitest'
import { command } from '../../cli-command'
import { freePorts } from '../../kafka/free-ports'

describe('a command that is used wrongly', () => {
  it.each([
    [['foo'], "rxmika: unknown command 'foo'"],
    [['dlq', 'redriv'], "rxmika: unknown command 'redriv'\n(Did you mean redrive?)"],
    [['dlq', 'ls', '--groups', 'x'], "rxmika: unknown option '--groups'\n(Did you mean --group?)"],
    [['lag'], "rxmika: missing required argument 'group'"],
  ])('%j prints what is wrong and where the help is, and not the whole help', async (args, says) => {
    const { code, out, err } = await command(args)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toBe(`${says}\n(--help shows the commands and flags)\n`)
  })

  it('has only those topics in its help that it uses, and takes both', async () => {
    const topics = async (...args: string[]) =>
      [...(await command([...args, '--help'])).out.matchAll(/--(?:dlq|retry)-topic/g)].map(([flag]) => flag)
    expect(await topics('lag')).toEqual([])
    expect(await topics('dlq', 'ls')).toEqual(['--dlq-topic'])
    expect(await topics('dlq', 'redrive')).toEqual(['--dlq-topic', '--retry-topic'])
    const args = ['lag', 'billing', '--dlq-topic', 'd', '--retry-topic', 'r', '--brokers', 'foo']
    expect((await command(args)).err).toContain('--brokers must be a list')
  })
})

describe('a command that cannot connect', () => {
  it.each([
    [['--brokers', 'foo'], {}, "--brokers must be a list of 'host:port'"],
    [[], { KAFKA_BROKERS: 'foo' }, "KAFKA_BROKERS must be a list of 'host:port'"],
    [
      ['--sasl-mechanism', 'NONE', '--sasl-username', 'ada'],
      {},
      '--sasl-mechanism must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512',
    ],
    [[], { KAFKA_TLS_ENABLED: 'maybe' }, "KAFKA_TLS_ENABLED must be true or false (got 'maybe')"],
  ])('with %j and %j names the wrong flag or key', async (flags, env, says) => {
    const { code, out, err } = await command(['lag', 'billing', ...flags], { env })
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain(`rxmika: ${says}`)
  })

  it('names the flag and the key of the brokers when none answers', async () => {
    const [port] = await freePorts(1)
    const { code, out, err } = await command(['lag', 'billing'], { env: { KAFKA_BROKERS: `127.0.0.1:${port}` } })
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toBe(
      `rxmika: no broker answers within 5000 ms (see --brokers and KAFKA_BROKERS): broker 127.0.0.1:${port}: ` +
        'the connection is refused (ECONNREFUSED); nothing listens on that port\n',
    )
  }, 20_000)

  it('never shows the password', async () => {
    const env = { KAFKA_SASL_PASSWORD: 'hidden-word' }
    for (const flags of [
      ['--sasl-mechanism', 'PLAIN'],
      ['--sasl-username', 'ada'],
      ['--brokers', 'foo'],
    ]) {
      const { code, out, err } = await command(['lag', 'billing', ...flags], { env })
      expect(code).toBe(2)
      expect(out + err).not.toContain('hidden-word')
    }
  })

  it('wraps no line of its help at 80 columns', async () => {
    for (const args of [
      ['dlq'],
      ['dlq', 'ls'],
      ['dlq', 'show'],
      ['dlq', 'redrive'],
      ['dlq', 'discard'],
      ['lag'],
      ['stalls'],
      ['watch'],
    ]) {
      const { code, out } = await command([...args, '--help'], { columns: 80 })
      expect(code).toBe(0)
      for (const line of out.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80)
      // Always "dead letters", the word of the headers, metrics and docs.
      expect(out.replaceAll(/\s+/g, ' ')).not.toMatch(/(?<!dead )\bletters?\b/i)
    }
  })
})
