import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Ports on 127.0.0.1 that nothing listens on.
 *
 * They are below the range that the system uses for outgoing connections. Within that range, while a killed node is away, the
 * system could give its port to an outgoing connection, even to one that reconnects to that node.
 */
export const freePorts = async (count: number): Promise<number[]> => {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (await isFree(port)) ports.add(port)
  }
  return [...ports]
}

const isFree = async (port: number): Promise<boolean> => {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}
