import { expect, it } from 'vitest'
import { expectStory } from './demo-story'
import { Example } from './run-example'

it('the demo prints its steps in order, draws them, and ends by itself', { timeout: 30_000 }, async () => {
  const demo = new Example('demo')
  expect(await demo.exitCode(), demo.output).toBe(0)
  expectStory(demo.output)
})
