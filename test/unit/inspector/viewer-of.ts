import { firstValueFrom, ReplaySubject } from 'rxjs'
import { filter } from 'rxjs/operators'
import type { Frame, Message, Snapshot } from '../../../src/inspector/messages'

/** A client of `/events` that gets all frames. */
export class ViewerOf {
  readonly messages = new ReplaySubject<Message>()
  readonly all: Message[] = []
  readonly #abort = new AbortController()

  /** Resolves once the server has answered. */
  static async connect(url: string): Promise<ViewerOf> {
    const viewer = new ViewerOf()
    const response = await fetch(new URL('/events', url), { signal: viewer.#abort.signal })
    if (response.status !== 200) throw new Error(`answered ${response.status}`)
    viewer.#read(response.body!).catch(() => {})
    await viewer.snapshot()
    return viewer
  }

  snapshot(): Promise<Snapshot> {
    return this.first((message): message is Snapshot => message.type === 'snapshot')
  }

  /** The first frame that matches, also among those that arrived before. */
  frame(like: (frame: Frame) => boolean): Promise<Frame> {
    return this.first((message): message is Frame => message.type === 'frame' && like(message))
  }

  first<T extends Message>(like: (message: Message) => message is T): Promise<T> {
    return firstValueFrom(this.messages.pipe(filter(like)))
  }

  get frames(): Frame[] {
    return this.all.filter((message): message is Frame => message.type === 'frame')
  }

  close(): void {
    this.#abort.abort()
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    let text = ''
    for await (const chunk of body.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>) {
      const parts = (text + chunk).split('\n\n')
      text = parts.pop()!
      for (const part of parts) {
        if (!part.startsWith('data: ')) continue
        const message = JSON.parse(part.slice('data: '.length)) as Message
        this.all.push(message)
        this.messages.next(message)
      }
    }
    this.messages.complete()
  }
}
