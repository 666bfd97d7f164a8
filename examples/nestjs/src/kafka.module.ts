import {
  type BeforeApplicationShutdown,
  Global,
  Inject,
  Logger,
  Module,
  type OnApplicationBootstrap,
} from '@nestjs/common'
import { type Client, createClient } from 'rxmika'
import { FatalErrors } from './fatal-errors.js'

/** The injection token of the client. Tests replace it by a client on the memory broker. */
export const KAFKA = Symbol('KAFKA')

/**
 * One client for the application. Providers register their topics in their constructors or in `onModuleInit`; the client
 * starts after all of them, and closes before any provider is destroyed.
 */
@Global()
@Module({
  providers: [
    FatalErrors,
    {
      provide: KAFKA,
      useFactory: () =>
        createClient({
          group: 'orders-nest',
          retryTopic: 'orders-nest-retry',
          dlqTopic: 'orders-nest-dlq',
          logger: false,
        }),
    },
  ],
  exports: [KAFKA],
})
export class KafkaModule implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #log = new Logger('Kafka')

  constructor(
    @Inject(KAFKA) private readonly client: Client,
    @Inject(FatalErrors) private readonly fatalErrors: FatalErrors,
  ) {}

  onApplicationBootstrap(): void {
    this.client.start().subscribe(error => this.#log.warn(error.message))
    // Only an error that closes the client ends the application.
    this.client.closed.then(({ error }) => {
      if (error !== undefined) this.fatalErrors.report(error)
    })
  }

  async beforeApplicationShutdown(): Promise<void> {
    const { drained, unsettled } = await this.client.closeGracefully({ timeout: 15_000 })
    this.#log.log(`closed: drained ${drained}, unsettled ${unsettled}`)
  }
}
