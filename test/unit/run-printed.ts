import { runMarbles } from 'rxmika/testing'

/** Runs a marble test that the library has printed, as a user who pastes it would. */
export function runPrinted(code: string): void {
  let test = () => {}
  const it = (_: string, body: () => void) => {
    test = body
  }
  new Function('it', 'runMarbles', code)(it, runMarbles)
  test()
}
