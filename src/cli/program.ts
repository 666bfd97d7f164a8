import { Command, CommanderError, Option } from 'commander'
import { isRxMikaError } from '../errors.js'
import { type ConnectionFlags, connect } from './connection.js'
import type { Context, Surroundings } from './context.js'
import { type DisposalFlags, discard, list, redrive, type ShowFlags, show } from './dlq-commands.js'
import { CommandFailure, exitCode } from './failure.js'
import { interruptible } from './interruption.js'
import { type LagFlags, lag } from './lag.js'
import { type Output, terminal } from './output.js'
import { progressOf } from './progress.js'
import type { SelectionFlags } from './selection.js'
import { type StallsFlags, stalls } from './stalls.js'
import { packageVersion } from './version.js'
import { type WatchFlags, watch } from './watch.js'

interface CommonFlags extends ConnectionFlags {
  readonly json?: boolean
}

/** What a command uses of its process. */
export type CommandProcess = Pick<NodeJS.Process, 'env' | 'stdin' | 'stdout' | 'stderr' | 'on' | 'off'>

/**
 * Runs one command line. Resolves with its exit code.
 *
 * @param process Its environment, standard streams and signals.
 */
export async function run(args: readonly string[], process: CommandProcess): Promise<number> {
  const output = terminal(process)
  try {
    await interruptible(process, async interrupted => {
      await program(process, output, interrupted).parseAsync([...args], { from: 'user' })
    })
    await output.caughtUp()
    return exitCode.done
  } catch (error) {
    // Commander has already printed the message.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.done : exitCode.wrongUse
    output.note(`rxmika: ${error instanceof Error ? error.message : String(error)}`)
    if (error instanceof CommandFailure) return error.exitCode
    return isRxMikaError(error, 'RXMIKA_CONFIGURATION') ? exitCode.wrongUse : exitCode.failed
  }
}

type Work<C, Flags> = (context: C, flags: Flags, argument: string) => Promise<void>

function program(process: CommandProcess, output: Output, interrupted: AbortSignal): Command {
  const surroundings = (json = false): Surroundings => {
    const { stdin, stderr } = process
    return { output, json, interrupted, stdin, stderr, progress: progressOf(stderr, json) }
  }

  /** A command that asks a running process. */
  const alone =
    <Flags extends object>(work: Work<Surroundings, Flags>) =>
    (argument: string, flags: Flags & CommonFlags) =>
      work(surroundings(flags.json), flags, argument)

  /** A command that asks Kafka: connects, does the work and closes, whatever the result. */
  const connected =
    <Flags extends object>(work: Work<Context, Flags>) =>
    async (...given: unknown[]) => {
      const command = given.at(-1) as Command
      const flags = command.optsWithGlobals<Flags & CommonFlags>()
      const argument = command.processedArgs[0] as string | undefined
      const connection = await connect(flags, process.env, interrupted)
      try {
        await work({ ...surroundings(flags.json), connection }, flags, argument ?? '')
      } catch (error) {
        // A failure after an interruption is a consequence of it.
        if (interrupted.aborted && !(error instanceof CommandFailure)) throw interrupted.reason
        throw error
      } finally {
        await connection.close()
      }
    }

  const root = new Command('rxmika')
    .description('Dead letters, lag and stalls of consumer groups that use rxmika or MiKa.')
    .version(packageVersion(), '-V, --version', 'show the version of the package')
    .exitOverride()
    .configureOutput({
      writeOut: text => void process.stdout.write(text),
      writeErr: text => void process.stderr.write(text),
      getOutHelpWidth: () => process.stdout.columns ?? 80,
      getErrHelpWidth: () => process.stderr.columns ?? 80,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      outputError: (text, write) => write(text.replace(/^error: /, 'rxmika: ')),
    })
    // The whole help would push the message out of a terminal.
    .showHelpAfterError('(--help shows the commands and flags)')
  const dlq = root.command('dlq').description('list, show, redrive or discard the pending dead letters of a DLQ topic')
  withDlq(selecting(dlq.command('ls')))
    .description('count pending dead letters by group, topic and error')
    .action(connected<SelectionFlags>(list))
  withDlq(selecting(dlq.command('show')))
    .description('show each pending dead letter')
    .addOption(new Option('--value <as>', 'how values are shown').choices(['text', 'json', 'hex']).default('text'))
    .action(connected<ShowFlags>(show))
  withDlq(disposing(selecting(dlq.command('redrive'))), { writes: true })
    .description(
      'write a copy of each dead letter to the retry topic; only the group that failed the record gets it, as attempt 1',
    )
    .addOption(
      new Option('--to <where>', 'the retry topic, or the topic that the dead letter was first published to')
        .choices(['retry', 'original'])
        .default('retry'),
    )
    .action(connected<DisposalFlags>(redrive))
  withDlq(disposing(selecting(dlq.command('discard'))))
    .description('complete dead letters for their group without delivering them again')
    .action(connected<DisposalFlags>(discard))
  withKafka(root.command('lag').argument('<group>'))
    .addOption(dlqTopicOption().hideHelp())
    .addOption(retryTopicOption().hideHelp())
    .description('show how far a group is behind, and how much it has finished behind its position')
    .option('--watch', 'repeat every 2 s, until Ctrl-C')
    .action(connected<LagFlags>((context, flags, group) => lag(context, group, flags)))
  root
    .command('stalls')
    .argument('<url>', 'of the inspector, as inspect(client) returns it; or host:port, or a port of this machine')
    .description('show which records hold back the positions of a running process, for how long, and why')
    .option('--all', 'show every record that is held, not only the first of each partition')
    .option(...jsonOption)
    .action(alone<StallsFlags>((context, flags, url) => stalls(context, url, flags)))
  root
    .command('watch')
    .argument('<url>', 'of the inspector, as inspect(client) returns it; or host:port, or a port of this machine')
    .description(
      'show what happens in a running process, live, until Ctrl-C: held records, failures, rebalances, errors',
    )
    .option('--held-for <time>', 'show records that hold a position back for at least this time', '2s')
    .option(
      '--no-reconnect',
      'end when the client closes or the connection is cut, instead of waiting for the next process',
    )
    .option(...jsonOption)
    .action(alone<WatchFlags>((context, flags, url) => watch(context, url, flags)))
  return root
}

const jsonOption = ['--json', 'one JSON document a line, and nothing else on stdout'] as const

function withKafka(command: Command): Command {
  return command
    .option(...jsonOption)
    .option('--brokers <list>', 'host:port, separated by commas (KAFKA_BROKERS)')
    .option('--ssl', 'connect by TLS (KAFKA_TLS_ENABLED)')
    .option('--sasl-mechanism <name>', 'PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (KAFKA_SASL_MECHANISM)')
    .option('--sasl-username <name>', 'the password is read from KAFKA_SASL_PASSWORD only (KAFKA_SASL_USERNAME)')
    .option('--suffix <text>', 'appended to the names of groups and topics, as in clients (KAFKA_GLOBAL_SUFFIX)')
}

/** Every command takes both topics, so that scripts may pass the same flags to all of them. Its help has those that it uses. */
function withDlq(command: Command, { writes = false } = {}): Command {
  return withKafka(command).addOption(dlqTopicOption()).addOption(retryTopicOption().hideHelp(!writes))
}

function dlqTopicOption(): Option {
  return new Option('--dlq-topic <name>', 'where dead letters are (KAFKA_DLQ_TOPIC)')
}

function retryTopicOption(): Option {
  return new Option('--retry-topic <name>', 'where copies are written (KAFKA_RETRY_TOPIC)')
}

function selecting(command: Command): Command {
  return command
    .option('--group <name>', 'only dead letters that this group failed')
    .option('--topic <name>', 'only dead letters first published to this topic')
    .option('--error <name>', 'only dead letters with this error name')
    .option('--since <when>', 'only dead letters that failed at this time or later: RFC 3339, or 2h, 3d ago')
    .option('--until <when>', 'only dead letters that failed before this time')
    .option('--offsets <list>', 'only dead letters at these offsets of the DLQ topic: 0:5-9,1:7')
    .option('--limit <count>', 'at most this many dead letters, the first by partition and offset')
}

function disposing(command: Command): Command {
  return command
    .option('--rate <count>', 'at most this many dead letters a second')
    .option('--dry-run', 'say what would be done, and do not do it')
    .option('--yes', 'do not ask')
    .option('--by <who>', 'who does it, for copies and the audit topic; defaults to user@host')
    .option('--audit-topic <name>', 'write a record of what was done to this topic')
}
