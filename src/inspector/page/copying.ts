import type { TestAnswer } from '../messages.js'
import { byId, setText } from './dom.js'
import { shownFor } from './store.js'

/** Shows a marble test of the records in the diagrams, and copies it to the clipboard. */
export class Copying {
  readonly #dialog = byId<HTMLDialogElement>('test')
  readonly #text = byId<HTMLTextAreaElement>('test-text')
  readonly #note = byId('test-note')
  /** Fetched as soon as the page is paused, because the inspected process keeps only the records of the last seconds. */
  #fetched: { readonly path: string; readonly answer: Promise<TestAnswer> } | undefined

  constructor(readonly say: (text: string) => void) {
    byId('test-copy').addEventListener('click', () => {
      this.#copy().catch(() => this.say('The marble test cannot be copied.'))
    })
  }

  /** @param partition Restricts the test to this partition. Undefined: all partitions. */
  prefetch(until: number, partition: { readonly topic: string; readonly partition: number } | undefined): void {
    const place = partition && `&topic=${encodeURIComponent(partition.topic)}&partition=${partition.partition}`
    const path = `/test?last=${shownFor}&until=${Math.ceil(until)}${place ?? ''}`
    if (this.#fetched?.path !== path) this.#fetched = { path, answer: fetchTest(path) }
  }

  async open(): Promise<void> {
    const answer = await this.#fetched!.answer
    this.#text.value = textOf(answer)
    this.#text.setSelectionRange(0, 0)
    const extent =
      answer.written < answer.of ? `the newest ${answer.written} of ${answer.of} entries` : `all ${answer.of} entries`
    setText(
      this.#note,
      answer.why ??
        `A test for runMarbles of rxmika/testing, written from recorded deliveries, settlements and commits: ${extent}.`,
    )
    this.#dialog.showModal()
    this.#text.scrollTop = 0
    if (answer.test !== null) await this.#copy()
  }

  async #copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.#text.value)
      this.say('The marble test is copied.')
      setText(byId('test-copy'), 'Copied')
    } catch {
      // The browser refused. The text is selected instead, so that the user can copy it.
      this.#text.select()
      setText(byId('test-copy'), 'Copy')
    }
  }
}

function textOf({ test, diagram }: TestAnswer): string {
  const comment = diagram === null ? '' : diagram.replace(/^ {0,2}/gm, '// ').replace(/ +$/gm, '')
  return [comment, test].filter(part => part !== null && part !== '').join('\n\n')
}

async function fetchTest(path: string): Promise<TestAnswer> {
  const nothing = { test: null, diagram: null, written: 0, of: 0 }
  try {
    const response = await fetch(path)
    if (response.ok) return await response.json()
    return { ...nothing, why: `The inspector answered with status ${response.status}.` }
  } catch {
    return { ...nothing, why: 'The inspector does not answer.' }
  }
}
