/** A file of the page, as it is served. */
export interface PageFile {
  readonly type: string
  readonly text: string
}

/**
 * The files of the page by their paths. The build puts their text in the place of this module: see scripts/build.ts. From the
 * sources they are bundled when they are first asked for.
 */
export const pageFiles = (): Promise<ReadonlyMap<string, PageFile>> => {
  bundled ??= import('./page/bundle.js').then(({ bundlePage }) => bundlePage())
  return bundled
}

let bundled: Promise<ReadonlyMap<string, PageFile>> | undefined
