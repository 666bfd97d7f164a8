import 'reflect-metadata'
import { NestFactory } from '@nestjs/core'
import { FatalErrors } from './fatal-errors.js'
import { OrdersModule } from './orders.module.js'

const app = await NestFactory.createApplicationContext(OrdersModule)
// SIGTERM runs the shutdown hooks: KafkaModule closes the client gracefully.
app.enableShutdownHooks()
// If an error closes the client, the application shuts down gracefully and exits with code 1, so that it is restarted.
app.get(FatalErrors, { strict: false }).onFatal = async error => {
  console.error(`fatal: ${error.message}`)
  process.exitCode = 1
  await app.close()
}
await app.init()
console.log('started')
