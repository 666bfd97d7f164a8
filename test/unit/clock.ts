import { VirtualTimeScheduler } from 'rxjs'

/** Virtual time that advances only on request. */
export class Clock extends VirtualTimeScheduler {
  constructor() {
    super(undefined, 0)
  }

  runTo(frame: number): void {
    this.maxFrames = frame
    this.flush()
    this.frame = frame
  }
}
