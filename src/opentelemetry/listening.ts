import type { TracingChannel } from 'node:diagnostics_channel'
import { Subscription } from 'rxjs'
import type { ClientMessage } from '../channels.js'
import type { RoutingClient } from '../routing.js'

/** Callbacks for the operations of one client on a channel. Each is called with the operation's message. */
export interface Listener<M> {
  start?(message: M): void
  end?(message: M): void
  asyncEnd?(message: M): void
}

/** Subscribes to a channel for one client. A channel has the operations of all clients in the process. */
export function listen<M extends ClientMessage & object>(
  channel: TracingChannel<unknown, M>,
  client: RoutingClient,
  listener: Listener<M>,
): Subscription {
  const listening = new Subscription()
  for (const name of ['start', 'end', 'asyncEnd'] as const) {
    if (listener[name] === undefined) continue
    const own = (message: unknown) => {
      if ((message as M).client === client) listener[name]!(message as M)
    }
    channel[name].subscribe(own)
    listening.add(() => channel[name].unsubscribe(own))
  }
  return listening
}
