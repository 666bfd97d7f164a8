// Imports point one way: down the table of rooms in docs/architecture.md. A room is a folder, with the files that it may import.
const room = (name, from, allowed) => ({
  name: `${name}-imports`,
  severity: 'error',
  from: { path: from },
  to: { path: '^(src|test|examples|bench|chaos)/', pathNot: [from, ...allowed] },
})
const vocabulary = '^src/[^/]+\\.ts$'
const publicApi = ['^src/index\\.ts$', '^src/(testing|opentelemetry|inspector)/index\\.ts$']

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    room('operators', '^src/operators/', [vocabulary]),
    room('retry', '^src/retry/', [vocabulary, '^src/operators/']),
    room('protocol', '^src/protocol/', []),
    room('protocol-wire', '^src/protocol/wire/', []),
    room('protocol-schema', '^src/protocol/schema/', ['^src/protocol/wire/']),
    room('protocol-messages', '^src/protocol/messages/', ['^src/protocol/(wire|schema)/']),
    room('protocol-records', '^src/protocol/records/', ['^src/protocol/wire/']),
    {
      name: 'protocol-needs-nothing',
      severity: 'error',
      from: { path: '^src/protocol/' },
      to: { pathNot: ['^src/protocol/', '^(node:)?(zlib|buffer)$'] },
    },
    room('kafka-driver', '^src/drivers/kafka/', [vocabulary, '^src/protocol/']),
    room('memory-driver', '^src/drivers/memory/', [vocabulary]),
    room('client', '^src/client/', [vocabulary, '^src/operators/', '^src/retry/', '^src/drivers/kafka/index\\.ts$']),
    room('cli', '^src/cli/', [
      vocabulary,
      '^src/(retry|client|protocol)/',
      '^src/inspector/messages\\.ts$',
      '^src/drivers/kafka/(admin|transactions/.*)\\.ts$',
    ]),
    room('testing', '^src/testing/', [vocabulary, '^src/(operators|retry|client|drivers)/']),
    room('opentelemetry', '^src/opentelemetry/', [vocabulary, '^src/retry/reason\\.ts$', '^src/client/client\\.ts$']),
    room('inspector', '^src/inspector/', [
      vocabulary,
      '^src/retry/reason\\.ts$',
      '^src/client/client\\.ts$',
      '^src/testing/(record-marbles|recorded-test)\\.ts$',
    ]),
    // The page runs in a browser, so it may import only the messages that it gets, and types.
    room('inspector-page', '^src/inspector/page/(?!bundle\\.ts$)', [
      '^src/inspector/messages\\.ts$',
      '^src/events\\.ts$',
    ]),
    {
      name: 'inspector-page-runs-in-a-browser',
      severity: 'error',
      from: { path: '^src/inspector/page/', pathNot: '/bundle\\.ts$' },
      to: { path: '^(node:|node_modules/)', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'nothing-imports-the-inspector',
      severity: 'error',
      // Except the command line, which may import one file of it: see the room `cli`.
      from: { path: '^src/', pathNot: '^src/(inspector|cli)/' },
      to: { path: '^src/inspector/' },
    },
    {
      name: 'opentelemetry-stays-in-its-room',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/opentelemetry/' },
      to: { path: '(^|node_modules/)@opentelemetry/' },
    },
    {
      name: 'nothing-imports-opentelemetry',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/opentelemetry/' },
      to: { path: '^src/opentelemetry/' },
    },
    room('examples', '^examples/', publicApi),
    room('bench', '^bench/', [
      ...publicApi,
      '^test/kafka/(kafka-server|create-topic|go-program|java|run)\\.ts$',
      '^src/record\\.ts$',
    ]),
    room('chaos', '^chaos/', [...publicApi, '^test/kafka/(kafka-server|create-topic|free-ports|watchdog)\\.ts$']),
    {
      name: 'vocabulary-imports',
      severity: 'error',
      from: { path: vocabulary, pathNot: '^src/index\\.ts$' },
      to: { path: '^src/', pathNot: vocabulary },
    },
    {
      name: 'kafkajs-stays-in-its-room',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/drivers/kafka/transport/login\\.ts$' },
      to: { path: 'node_modules/kafkajs' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
  },
}
