import { Inject, Injectable, Logger, Module, type OnModuleInit } from '@nestjs/common'
import { type Client, fixed, handle } from 'rxmika'
import { KAFKA, KafkaModule } from './kafka.module.js'

@Injectable()
export class Payments {
  async charge(order: string): Promise<void> {
    new Logger('Payments').log(`charged ${order}`)
  }
}

@Injectable()
export class OrdersConsumer implements OnModuleInit {
  constructor(
    @Inject(KAFKA) private readonly kafka: Client,
    @Inject(Payments) private readonly payments: Payments,
  ) {}

  onModuleInit(): void {
    this.kafka
      .topic('orders', { retries: 2, backoff: fixed(50), dlq: true })
      .pipe(handle(({ value }) => this.payments.charge(String(value)), { order: 'key', concurrency: 16 }))
      .subscribe({ error: () => {} })
  }
}

@Module({ imports: [KafkaModule], providers: [Payments, OrdersConsumer] })
export class OrdersModule {}
