/** An error as another copy of this package makes it: not of our classes, with our brand. */
export function otherCopy(code: string, fields: object = {}): Error {
  return Object.assign(new Error(`${code} of another copy`), { [Symbol.for('rxmika.error')]: true, code, ...fields })
}
