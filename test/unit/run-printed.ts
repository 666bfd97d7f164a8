import { runMarbles } from 'rxmika/testing'

/** Runs a marble test that the library has written, as a user would who pastes it. */
export function runPrinted(code: string): void {
  let test = () => {}
  const it = (_: string, body: () => void) => {
    test = body
  }
  new Function('it', 'runMarbles', code)(it, runMarbles)
  test()
}
