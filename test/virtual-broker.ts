import { VirtualTimeScheduler } from 'rxjs'
import { memoryBroker } from 'rxmika/testing'

/** A broker in virtual time from 0 on, and the function that advances that time. */
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
