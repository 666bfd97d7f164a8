import { VirtualTimeScheduler } from 'rxjs'
import { memoryBroker } from 'rxmika/testing'

/** A broker in virtual time that begins at 0, and what moves that time on to a frame. */
export function virtualBroker() {
  const clock = new VirtualTimeScheduler(undefined, 0)
  const broker = memoryBroker({ scheduler: clock })
  const runTo = (frame: number) => {
    clock.maxFrames = frame
    clock.flush()
    clock.frame = frame
  }
  return { clock, broker, runTo }
}
