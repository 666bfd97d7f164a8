import { Injectable } from '@nestjs/common'

/** Receives the error that ends the application. `main.ts` sets `onFatal`. */
@Injectable()
export class FatalErrors {
  onFatal: (error: Error) => void = () => {}

  report(error: Error): void {
    this.onFatal(error)
  }
}
