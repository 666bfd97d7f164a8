/** An error of another copy of this package: not an instance of these classes, but with their brand. */
export function otherCopy(code: string, fields: object = {}): Error {
  return Object.assign(new Error(`${code} of another copy`), { [Symbol.for('rxmika.error')]: true, code, ...fields })
}
