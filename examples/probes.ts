// Kubernetes probes for a client: GET /livez and GET /readyz answer 200, or 503 with the reasons.
import { createServer, type Server } from 'node:http'
import type { Client } from 'rxmika'

/** Listen on a port that only the cluster can reach, because the reasons contain broker addresses. */
export function probes(client: Client): Server {
  return createServer((request, response) => {
    const { live, ready, reasons } = client.health()
    const healthy = request.url === '/livez' ? live : request.url === '/readyz' ? ready : undefined
    if (healthy === undefined) return response.writeHead(404).end()
    response.writeHead(healthy ? 200 : 503, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify({ live, ready, reasons })}\n`)
  })
}
