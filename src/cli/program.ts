import { Command, CommanderError, Option } from 'commander'
import { isRxMikaError } from '../errors.js'
import { type ConnectionFlags, connect } from './connection.js'
import { type Context, type DisposalFlags, discard, list, redrive, type ShowFlags, show } from './dlq-commands.js'
import { CommandFailure, exitCode } from './failure.js'
import { type LagFlags, lag } from './lag.js'
import { terminal } from './output.js'
import { progressOf } from './progress.js'
import type { SelectionFlags } from './selection.js'

interface CommonFlags extends ConnectionFlags {
  readonly json?: boolean
}

/** Runs one command line and resolves with its exit code. */
export async function run(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  try {
    await program(env).parseAsync([...args], { from: 'user' })
    return exitCode.done
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.done : exitCode.wrongUse
    const message = error instanceof Error ? error.message : String(error)
    process.stderr.write(`rxmika: ${message}\n`)
    if (error instanceof CommandFailure) return error.exitCode
    return isRxMikaError(error, 'RXMIKA_CONFIGURATION') ? exitCode.wrongUse : exitCode.failed
  }
}

function program(env: NodeJS.ProcessEnv): Command {
  /** Connects, does the work and closes, whatever came of it. */
  const connected =
    <Flags>(work: (context: Context, flags: Flags, argument: string) => Promise<void>, hasArgument = false) =>
    async (...given: unknown[]) => {
      const command = given.at(-1) as Command
      const flags = command.optsWithGlobals<Flags & CommonFlags>()
      const json = flags.json === true
      const connection = await connect(flags, env)
      const context = {
        connection,
        json,
        output: terminal(process.stdout, process.stderr),
        progress: progressOf(process.stderr, json),
      }
      try {
        await work(context, flags, hasArgument ? String(given[0]) : '')
      } finally {
        await connection.close()
      }
    }

  const root = new Command('rxmika')
    .description('Looks after dead letters and lag of groups that use rxmika or MiKa.')
    .exitOverride()
    .showHelpAfterError()
  const dlq = root.command('dlq').description('the dead letters of a DLQ topic that nobody has dealt with yet')
  withCommon(selecting(dlq.command('ls')))
    .description('count them by group, topic and error')
    .action(connected<SelectionFlags>(list))
  withCommon(selecting(dlq.command('show')))
    .description('show each of them')
    .addOption(new Option('--value <as>', 'how values are shown').choices(['text', 'json', 'hex']).default('text'))
    .action(connected<ShowFlags>(show))
  withCommon(disposing(selecting(dlq.command('redrive'))))
    .description('write a copy to the retry topic of their group, which is delivered to that group as attempt 1')
    .addOption(new Option('--to <where>', 'for letters without a retry topic: original').choices(['retry', 'original']))
    .action(connected<DisposalFlags>(redrive))
  withCommon(disposing(selecting(dlq.command('discard'))))
    .description('complete them for their group, without delivering them again')
    .action(connected<DisposalFlags>(discard))
  withCommon(root.command('lag').argument('<group>'))
    .description('how far a group is behind, and what it has finished behind its position')
    .option('--watch', 'again every 2 s')
    .action(connected<LagFlags>((context, flags, group) => lag(context, group, flags), true))
  return root
}

function withCommon(command: Command): Command {
  return command
    .option('--json', 'one JSON document a line, and nothing else on stdout')
    .option('--brokers <list>', 'host:port, separated by commas (KAFKA_BROKERS)')
    .option('--ssl', 'connect by TLS (KAFKA_TLS_ENABLED)')
    .option('--sasl-mechanism <name>', 'PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (KAFKA_SASL_MECHANISM)')
    .option('--sasl-username <name>', 'the password comes by KAFKA_SASL_PASSWORD alone (KAFKA_SASL_USERNAME)')
    .option('--suffix <text>', 'of groups and topics, as clients have it (KAFKA_GLOBAL_SUFFIX)')
    .option('--dlq-topic <name>', 'KAFKA_DLQ_TOPIC')
    .option('--retry-topic <name>', 'KAFKA_RETRY_TOPIC')
}

function selecting(command: Command): Command {
  return command
    .option('--group <name>', 'only those that this group failed')
    .option('--topic <name>', 'only those first published to this topic')
    .option('--error <name>', 'only those with this error name')
    .option('--since <when>', 'only those that failed then or later: RFC 3339, or 2h, 3d ago')
    .option('--until <when>', 'only those that failed before')
    .option('--offsets <list>', 'only those at these offsets of the DLQ topic: 0:5-9,1:7')
    .option('--limit <count>', 'at most so many')
}

function disposing(command: Command): Command {
  return command
    .option('--rate <count>', 'letters a second')
    .option('--dry-run', 'say what would be done, and do nothing')
    .option('--yes', 'do not ask')
    .option('--by <who>', 'who does it, for copies and audit; by default user@host')
    .option('--audit-topic <name>', 'a record of what was done goes here')
}
