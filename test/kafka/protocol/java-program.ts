import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { javaProgram, kafkaClassPath } from '../java'

/** Runs a Java file of this folder on Kafka's own classes; resolves with the lines it prints. */
export async function runOnKafkaClasses(file: string, input = ''): Promise<string[]> {
  const classPath = await kafkaClassPath()
  const path = fileURLToPath(new URL(`./${file}`, import.meta.url))
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: 512 * 1024 * 1024 }
    const child = execFile(javaProgram('java'), ['-cp', classPath, path], options, (error, stdout, stderr) => {
      if (error) reject(new Error(`${file} failed: ${stderr || error.message}`, { cause: error }))
      else resolve(stdout.split('\n').filter(line => line !== ''))
    })
    // A program that ends early says why by its exit code.
    child.stdin!.on('error', () => {})
    child.stdin!.end(input)
  })
}
