import { contract } from './contract'
import { fakeBackend } from './fake-backend'

for (const groupProtocol of ['classic', 'consumer'] as const) {
  contract(`by the ${groupProtocol} protocol, on fake brokers`, fakeBackend(groupProtocol))
}
