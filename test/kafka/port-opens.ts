import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'

/** Resolves when something listens at `host:port`. */
export async function portOpens(address: string): Promise<void> {
  const [host, port] = address.split(':') as [string, string]
  for (;;) {
    const socket = connect(Number(port), host)
    try {
      await once(socket, 'connect')
      return
    } catch {
      await setTimeout(50)
    } finally {
      socket.destroy()
    }
  }
}
