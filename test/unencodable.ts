/** Records that cannot be encoded, with the messages of their refusals. TypeScript forbids most of them; JavaScript does not. */
export const unencodable: readonly (readonly [record: object, why: string])[] = [
  [{ value: 7 }, 'value must be a Buffer, a string or null'],
  [{ value: {} }, 'value must be a Buffer'],
  [{ key: 7n, partition: 0 }, 'key must be a Buffer'],
  [{ headers: [['trace', 7]] }, "header 'trace' must be a Buffer"],
  [{ headers: { trace: { deep: true } } }, "header 'trace' must be a Buffer"],
  [{ headers: [[7, 'trace']] }, 'headers must be'],
  [{ headers: ['trace'] }, 'headers must be'],
  [{ headers: [null] }, 'headers must be'],
  [{ timestamp: 1.5 }, 'timestamp must be an integer'],
  [{ timestamp: Number.NaN }, 'timestamp must be an integer'],
  [{ timestamp: 'now' }, 'timestamp must be an integer'],
  [{ timestamp: 2 ** 60 }, 'timestamp must be an integer'],
]
