import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const exec = promisify(execFile)

/** Thrown if this machine lacks something that a test needs. The message says what. */
export class Unavailable extends Error {
  override name = 'Unavailable'
}

/** Runs a program to its end. Resolves with its output; rejects with its output if it fails. */
export const run = async (program: string, args: string[], timeout = 0): Promise<string> => {
  try {
    const { stdout, stderr } = await exec(program, args, { timeout })
    return stdout + stderr
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string }
    if (code === 'ENOENT') throw new Unavailable(`${program} is not installed`)
    throw new Error(`${program} failed (${code ?? 'no answer in time'}):\n${stdout}${stderr}`.trim())
  }
}
