import { kafkaError } from '../../../protocol/errors.js'
import { coordinatorType } from '../../../protocol/messages/find-coordinator.js'
import type { AnyMessage, ResponseOf } from '../../../protocol/schema/message.js'
import type { RequestFor } from '../transport/connection.js'
import type { Lane } from '../transport/transport.js'
import { type Cluster, requestTimeout, type SendOptions } from './cluster.js'

/** The broker that coordinates a group or a transactional id. It is looked up when needed, and again when it moves or goes away. */
export class Coordinator {
  constructor(
    readonly cluster: Cluster,
    /** The group, or the transactional id. */
    readonly key: string,
    readonly type: number = coordinatorType.group,
  ) {}

  /** Sends a request to the coordinator. An answer that another broker is the coordinator is returned; the next request goes there. */
  async ask<M extends AnyMessage>(
    message: M,
    request: RequestFor<M>,
    { lane = 'control', timeout = requestTimeout, maxVersion, quiet }: SendOptions & { readonly lane?: Lane } = {},
  ): Promise<ResponseOf<M>> {
    const node = await this.cluster.coordinator(this.key, this.type)
    try {
      const answer = await this.cluster.ask(node, lane, message, request, { timeout, maxVersion, quiet })
      const { errorCode } = answer as { readonly errorCode?: number }
      if (errorCode !== undefined && kafkaError(errorCode).has('coordinatorMoved')) this.moved()
      return answer
    } catch (error) {
      // Also if no request was sent because the cluster does not name the broker any more.
      this.moved()
      throw error
    }
  }

  /** Finds the coordinator and opens a connection to it, ahead of the first request. That request meets a failure again. */
  approach(lane: Lane): void {
    this.cluster
      .coordinator(this.key, this.type)
      .then(node => this.cluster.reach(node, lane))
      .catch(() => {})
  }

  /** Another broker is the coordinator now. */
  moved(): void {
    this.cluster.forgetCoordinator(this.key, this.type)
  }
}
