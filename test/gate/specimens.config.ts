// The projects of vitest.config.ts, with specimens in place of their suites. Each specimen must make its project fail.
import { defineConfig, mergeConfig, type TestProjectInlineConfiguration } from 'vitest/config'
import config from '../../vitest.config'

const projects = config.test!.projects as TestProjectInlineConfiguration[]

export default defineConfig({
  root: new URL('../..', import.meta.url).pathname,
  test: {
    ...config.test,
    projects: projects.map(project => {
      const merged = mergeConfig(project, {}) as TestProjectInlineConfiguration
      merged.test = { ...merged.test, include: ['test/gate/specimens/*.ts'], exclude: [], globalSetup: [] }
      return merged
    }),
  },
})
