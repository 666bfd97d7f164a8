import { VirtualTimeScheduler } from 'rxjs'

/** Virtual time that goes on only as far as asked. */
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
