import { transformerTwoslash } from '@shikijs/vitepress-twoslash'
import { defineConfig } from 'vitepress'
import { given } from './given.js'

/** Files that the texts link to and that are no pages: sources, tests, examples. test/docs checks that they are there. */
const noPage = /^(?:\.\.?\/)*(?:src|test|examples|bench|chaos|scripts|\.github|\.ci)\//

export default defineConfig({
  title: 'rxmika',
  description: 'Kafka topics as RxJS Observables',
  srcDir: '..',
  outDir: './dist',
  cacheDir: './.vitepress/cache',
  srcExclude: [
    '**/node_modules/**',
    'site/dist/**',
    'dist/**',
    '.changeset/**',
    '.github/**',
    '.mutants/**',
    'examples/**',
  ],
  rewrites: {
    'README.md': 'index.md',
    'site/api/:rest*': 'api/:rest*',
    'docs/:page': ':page',
  },
  // A link to a page that is not there fails the build.
  ignoreDeadLinks: false,
  themeConfig: {
    search: { provider: 'local' },
    nav: [
      { text: 'Reference', link: '/reference' },
      { text: 'API', link: '/api/' },
    ],
    sidebar: [
      {
        text: 'Start',
        items: [
          { text: 'Get started', link: '/' },
          { text: 'Comparison', link: '/comparison' },
          { text: 'Guarantees', link: '/guarantees' },
        ],
      },
      { text: 'Guides', items: guides() },
      {
        text: 'Inside',
        items: [
          { text: 'Architecture', link: '/architecture' },
          { text: 'Decisions', link: '/decisions' },
          { text: 'Benchmarks', link: '/benchmarks' },
          { text: 'KIPs', link: '/kips' },
          { text: 'Versions', link: '/versions' },
          { text: 'Contributing', link: '/CONTRIBUTING' },
        ],
      },
    ],
  },
  markdown: {
    config: md => {
      // What is no page is named, and not linked to.
      md.core.ruler.push('links-to-sources', state => {
        for (const token of state.tokens) {
          const children = token.children ?? []
          const open: boolean[] = []
          token.children = children.filter(child => {
            if (child.type === 'link_open') {
              const href = child.attrGet('href') ?? ''
              child.attrSet('href', href.replace(/^(?:\.\.?\/)*README\.md/, '/'))
              open.push(noPage.test(href))
            }
            if (child.type !== 'link_open' && child.type !== 'link_close') return true
            return child.type === 'link_close' ? !open.pop() : !open.at(-1)
          })
        }
      })
    },
    // Each block is compiled against the sources, as in test/docs; one that does not compile fails the build.
    codeTransformers: [
      transformerTwoslash({
        filter: (lang, _code) => lang === 'ts',
        twoslashOptions: given,
      }),
    ],
  },
})

function guides() {
  const titles: Record<string, string> = {
    'failure-routes': 'Failure routes',
    'skipping-records': 'Skipping records, fan-out, batches',
    testing: 'Testing',
    observing: 'Observing',
    'dead-letters': 'Dead letters by the command line',
    security: 'Security and rights',
  }
  return Object.entries(titles).map(([page, text]) => ({ text, link: `/${page}` }))
}
