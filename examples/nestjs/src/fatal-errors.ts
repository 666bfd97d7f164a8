import { Injectable } from '@nestjs/common'

/** Receives the error that ends the application. `main.ts` sets the reaction. */
@Injectable()
export class FatalErrors {
  onFatal: (error: Error) => void = () => {}

  report(error: Error): void {
    this.onFatal(error)
  }
}
