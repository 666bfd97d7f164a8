import { Injectable } from '@nestjs/common'

/** What ends the application. `main.ts` says how. */
@Injectable()
export class FatalErrors {
  onFatal: (error: Error) => void = () => {}

  report(error: Error): void {
    this.onFatal(error)
  }
}
