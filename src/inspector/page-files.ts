/** A file of the page. */
export interface PageFile {
  /** Its media type, such as `text/html`. */
  readonly type: string
  readonly text: string
}

/**
 * The files of the page, by path. In the built package, scripts/build.ts has replaced this module by the bundled text. When the
 * sources run directly, the files are bundled on the first request.
 */
export const pageFiles = (): Promise<ReadonlyMap<string, PageFile>> => {
  bundled ??= import('./page/bundle.js').then(({ bundlePage }) => bundlePage())
  return bundled
}

let bundled: Promise<ReadonlyMap<string, PageFile>> | undefined
