import { spawn } from 'node:child_process'
import { once } from 'node:events'

/**
 * Runs a shell command when this process ends, however it ends, or when `end` is called; `$0` is `argument`.
 *
 * Neither Java nor Docker notices that its parent was killed. The watchdog does, by a pipe that the system closes when this
 * process ends. It has its own process group, so that Ctrl-C does not end it before it is needed.
 */
export const watchdog = (command: string, argument: string) => {
  const shell = spawn('sh', ['-c', `cat >/dev/null; ${command}`, argument], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  const exited = once(shell, 'exit')
  return {
    async end(): Promise<void> {
      shell.stdin.end()
      await exited
    },
  }
}
