/**
 * Control characters, those of the C1 range too, and characters that change the direction of text. Terminals obey them, and
 * keys, values and messages come from outside.
 */
const invisible = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/** The text with every character that a terminal would obey written as an escape, line breaks included. */
export function visible(text: string): string {
  return text.replace(invisible, escaped)
}

/** The same, but line breaks and tabs are kept. */
export function visibleLines(text: string): string {
  return text.replace(/\r\n/g, '\n').replace(invisible, char => (char === '\n' || char === '\t' ? char : escaped(char)))
}

/** The same for JSON: `JSON.stringify` escapes only the characters below U+0020. */
export function visibleJson(document: object): string {
  return JSON.stringify(document).replace(invisible, unicode)
}

const named = new Map([
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
])

function escaped(char: string): string {
  return named.get(char) ?? unicode(char)
}

function unicode(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
}
