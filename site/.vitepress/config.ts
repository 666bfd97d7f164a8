import { transformerTwoslash } from '@shikijs/vitepress-twoslash'
import { createTwoslasher } from 'twoslash'
import { type DefaultTheme, defineConfig } from 'vitepress'
import { given } from './given.js'

/** Linked files that are not pages: sources, tests, examples, data. test/docs checks that they exist. */
const noPage =
  /^(?:\.\.?\/)*(?:(?:src|test|examples|bench|chaos|scripts|\.github|\.ci|\.changeset)\/|(?:docs\/)?grafana\/.*\.json$|LICENSE$)/

/** Throws if a code block that does not compile would not fail the build. */
function checkThatErrorsAreFound(): void {
  try {
    createTwoslasher(given)('client.topic(7)', 'ts', given)
  } catch {
    return
  }
  throw new Error('a code block that does not compile does not fail the build: see twoslashOptions')
}

checkThatErrorsAreFound()

export default defineConfig({
  title: 'rxmika',
  description: 'Kafka topics as RxJS Observables',
  srcDir: './pages',
  outDir: './dist',
  cacheDir: './.vitepress/cache',
  // Pages keep the paths of their files, so relative links and pictures are the same here and in the repository.
  rewrites: { 'README.md': 'index.md' },
  // A link to a page that does not exist fails the build.
  ignoreDeadLinks: false,
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Get started', link: '/docs/get-started' },
      { text: 'Reference', link: '/docs/reference' },
      { text: 'API', link: '/api/' },
    ],
    sidebar: [
      {
        text: 'Start',
        items: [{ text: 'Overview', link: '/' }, page('get-started', 'Get started'), page('comparison', 'Comparison')],
      },
      {
        text: 'Guides',
        items: [
          page('ordering', 'Ordering and concurrency'),
          page('failure-routes', 'Failure routes'),
          page('skipping-records', 'Skipping records, batches'),
          page('fan-out', 'Fan-out'),
          page('schema-registry', 'Schemas and a schema registry'),
          page('database-sinks', 'Database sinks'),
          page('testing', 'Testing'),
        ],
      },
      {
        text: 'Running it',
        items: [
          page('operations', 'Operations'),
          page('observing', 'Observing'),
          page('dead-letters', 'Operating dead letters'),
          page('security', 'Security and rights'),
        ],
      },
      {
        text: 'Change over from',
        items: [
          page('from-kafkajs', 'kafkajs'),
          page('from-nestjs', 'NestJS'),
          page('from-spring-kafka', 'spring-kafka'),
          page('from-mika', 'MiKa (Go)'),
        ],
      },
      {
        text: 'Reference',
        items: [
          page('reference', 'Reference'),
          { text: 'API', link: '/api/' },
          page('guarantees', 'Guarantees'),
          page('versions', 'Versions'),
          page('kips', 'KIPs'),
        ],
      },
      {
        text: 'Inside',
        items: [
          page('architecture', 'Architecture'),
          page('decisions', 'Decisions'),
          page('benchmarks', 'Benchmarks'),
          { text: 'Contributing', link: '/CONTRIBUTING' },
          { text: 'Security policy', link: '/SECURITY' },
        ],
      },
    ],
  },
  markdown: {
    config: md => {
      // Blocks marked `ts` are compiled and show types. Code of other libraries is marked `typescript`. The examples in doc comments
      // (`api/`) are fragments, which do not compile.
      md.core.ruler.push('types', ({ tokens, env }) => {
        if (String(env.relativePath).startsWith('api/')) return
        for (const token of tokens) if (token.type === 'fence' && token.info === 'ts') token.info = 'ts twoslash'
      })
      // Removes links to files that are not pages, and keeps their text.
      md.core.ruler.push('links-to-files', state => {
        for (const token of state.tokens) {
          const open: boolean[] = []
          token.children =
            token.children?.filter(child => {
              if (child.type === 'link_close') return !open.pop()
              if (child.type !== 'link_open') return true
              const href = child.attrGet('href') ?? ''
              child.attrSet('href', href.replace(/^(?:\.\.?\/)*README\.md/, '/'))
              open.push(noPage.test(href))
              return !open.at(-1)
            }) ?? null
        }
      })
    },
    // Each block is compiled against the sources, as in test/docs. One that does not compile fails the build.
    codeTransformers: [transformerTwoslash({ twoslashOptions: given, throws: true })],
  },
})

function page(name: string, text: string): DefaultTheme.SidebarItem {
  return { text, link: `/docs/${name}` }
}
