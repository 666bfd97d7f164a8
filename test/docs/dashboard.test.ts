import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics'
import { parser } from '@prometheus-io/lezer-promql'
import { Registry } from 'prom-client'
import { filter, firstValueFrom } from 'rxjs'
import { createClient, handle } from 'rxmika'
import { instrument } from 'rxmika/opentelemetry'
import { memoryBroker } from 'rxmika/testing'
import { beforeAll, describe, expect, it } from 'vitest'
import { register } from '../../examples/prometheus'
import { typeErrors } from './code-blocks'

interface Target {
  readonly expr: string
  readonly legendFormat: string
}

interface Panel {
  readonly id: number
  readonly title: string
  readonly type: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly options: object
  readonly fieldConfig: { readonly defaults: { readonly custom?: object } }
  readonly targets: readonly Target[]
}

const file = fileURLToPath(new URL('../../docs/grafana/rxmika.json', import.meta.url))
const dashboard = JSON.parse(readFileSync(file, 'utf8'))
const panels: readonly Panel[] = dashboard.panels

/** A metric in Prometheus's text format: its type, and the labels that its samples have. */
interface Exposed {
  readonly type: string
  readonly labels: Set<string>
}

/** The metrics of a scrape by the names of their samples, so that a histogram has `_bucket`, `_sum` and `_count`. */
function exposed(text: string): Map<string, Exposed> {
  const types = new Map([...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => [name!, type!]))
  const samples = new Map<string, Exposed>()
  for (const [, name, labels = ''] of text.matchAll(/^(\w+)(?:\{(.*)\})? [^ ]+$/gm)) {
    const type = types.get(name!) ?? types.get(name!.replace(/_(bucket|sum|count)$/, '')) ?? 'untyped'
    const sample = samples.get(name!) ?? { type, labels: new Set() }
    samples.set(name!, sample)
    for (const [, label] of labels.matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)) sample.labels.add(label!)
  }
  return samples
}

/** The units of our metrics, as words in names. Units in braces are annotations, and no part of names. */
const words: Readonly<Record<string, string>> = { '': '', s: '_seconds' }

/**
 * The same for metrics of OpenTelemetry, by its rules for Prometheus: a counter ends in `_total`, and a name has its unit
 * before that. OpenTelemetry's collector and Prometheus's own receiver do so; the exporter for JavaScript leaves the unit out.
 */
function translated({ scopeMetrics }: ResourceMetrics, { units }: { readonly units: boolean }): Map<string, Exposed> {
  const samples = new Map<string, Exposed>()
  for (const { descriptor, dataPointType, dataPoints, ...metric } of scopeMetrics.flatMap(({ metrics }) => metrics)) {
    const unit = descriptor.unit.startsWith('{') ? '' : descriptor.unit
    expect(Object.keys(words), descriptor.name).toContain(unit)
    const name = `${descriptor.name.replaceAll(/\W/g, '_')}${units ? words[unit] : ''}`
    const labels = dataPoints.flatMap(({ attributes }) => Object.keys(attributes).map(of => of.replaceAll(/\W/g, '_')))
    if (dataPointType === DataPointType.HISTOGRAM) {
      for (const suffix of ['_sum', '_count'])
        samples.set(name + suffix, { type: 'histogram', labels: new Set(labels) })
      samples.set(`${name}_bucket`, { type: 'histogram', labels: new Set([...labels, 'le']) })
    } else {
      const isCounter = dataPointType === DataPointType.SUM && 'isMonotonic' in metric && metric.isMonotonic
      const type = isCounter ? 'counter' : 'gauge'
      samples.set(isCounter ? `${name}_total` : name, { type, labels: new Set(labels) })
    }
  }
  return samples
}

/** What a client has exported after each kind of thing happened, by OpenTelemetry's exporter and by the recipe. */
async function scrapes() {
  const broker = memoryBroker({ partitions: 1 })
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', retryTopic: 'retries', dlqTopic: 'dead', logger: false },
  })
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const instrumented = instrument(client, { meterProvider })
  const registry = new Registry()
  register(client, registry)
  try {
    client
      .topic('orders', { retries: 1, dlq: true })
      .pipe(
        handle(record => {
          if (String(record.value) === 'bad') throw new RangeError('declined')
        }),
      )
      .subscribe()
    client.start()
    broker.publish('orders', [{ value: 'good' }, { value: 'bad' }])
    // The source of the dead letter, so that everything else has happened.
    await firstValueFrom(
      client.events.pipe(
        filter(event => event.type === 'committed' && event.topic === 'retries' && event.offset === 1n),
      ),
    )
    const { resourceMetrics, errors } = await reader.collect()
    expect(errors).toEqual([])
    return { resourceMetrics, recipe: await registry.metrics() }
  } finally {
    await client.close()
    instrumented.unsubscribe()
    await meterProvider.shutdown()
  }
}

interface Selector {
  /** The name or the pattern of the name, as a regular expression. */
  readonly name: RegExp
  readonly labels: readonly string[]
  /** Whether it has a range, as an argument of `rate` and `increase`. */
  readonly isRange: boolean
}

/** The selectors of a query, and the labels by which it groups. Throws if it is no PromQL. */
function parsed(expression: string): { readonly selectors: readonly Selector[]; readonly by: readonly string[] } {
  const query = expression.replaceAll(/\$__(rate_interval|range)/g, '5m')
  const selectors: Selector[] = []
  const by: string[] = []
  const textOf = ({ from, to }: { readonly from: number; readonly to: number }) => query.slice(from, to)
  parser.parse(query).iterate({
    enter(node) {
      if (node.type.isError) throw new Error(`no PromQL at ${node.from}: ${query}`)
      if (node.name === 'GroupingLabels') by.push(...node.node.getChildren('LabelName').map(textOf))
      if (node.name !== 'VectorSelector') return
      const own = node.node.getChild('Identifier')
      const matchers = (node.node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? []).map(matcher => [
        textOf(matcher.getChild('LabelName')!),
        textOf(matcher.getChild('StringLiteral')!).slice(1, -1),
      ])
      const named = own === null ? matchers.find(([label]) => label === '__name__')?.[1] : textOf(own)
      if (named === undefined) throw new Error(`a selector without a name: ${query}`)
      selectors.push({
        name: new RegExp(`^(?:${named})$`),
        labels: matchers.map(([label]) => label!).filter(label => label !== '__name__'),
        isRange: node.node.parent?.name === 'MatrixSelector',
      })
    },
  })
  return { selectors, by }
}

/** What a scrape adds to each sample. */
const targetLabels = ['job', 'instance']

/** What is wrong with a selector for the samples of a scrape. */
function faultsOf({ name, labels, isRange }: Selector, by: readonly string[], samples: ReadonlyMap<string, Exposed>) {
  const found = [...samples].filter(([sample]) => name.test(sample))
  if (found.length !== 1) return [`${name} is the name of ${found.length} metrics`]
  const [[sample, { type, labels: existing }]] = found as [[string, Exposed]]
  const unknown = [...labels, ...by].filter(label => !existing.has(label) && !targetLabels.includes(label))
  return [
    ...unknown.map(label => `${sample} has no label ${label}`),
    ...(isRange === (type === 'gauge') ? [`${sample} is a ${type}, and the query takes it for another type`] : []),
  ]
}

describe('the dashboard', () => {
  let sources: readonly (readonly [name: string, samples: ReadonlyMap<string, Exposed>])[]
  beforeAll(async () => {
    const { resourceMetrics, recipe } = await scrapes()
    sources = [
      ["OpenTelemetry's exporter", translated(resourceMetrics, { units: false })],
      ["OpenTelemetry's collector", translated(resourceMetrics, { units: true })],
      ['the recipe for prom-client', exposed(recipe)],
    ]
  })

  /** Of the panel `Handler duration` the recipe has nothing. */
  const isOf = (source: string, { title }: Panel) =>
    source !== 'the recipe for prom-client' || title !== 'Handler duration'

  it('queries metrics and labels that each of its sources has, each by its type', () => {
    for (const [source, samples] of sources) {
      for (const panel of panels.filter(each => isOf(source, each))) {
        for (const { expr, legendFormat } of panel.targets) {
          const { selectors, by } = parsed(expr)
          expect(selectors.length, expr).toBeGreaterThan(0)
          for (const selector of selectors) expect(faultsOf(selector, by, samples), `${source}: ${expr}`).toEqual([])
          // What a line is named by has survived the aggregation.
          const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label)
          expect(by, `${panel.title}: ${legendFormat}`).toEqual(expect.arrayContaining(shown))
        }
      }
    }
    expect(panels.flatMap(({ targets }) => targets).length).toBeGreaterThan(12)
  })

  it('fills its variables from metrics and labels that each of its sources has', () => {
    const variables = dashboard.templating.list.filter(({ type }: { type: string }) => type === 'query')
    expect(variables.map(({ name }: { name: string }) => name)).toEqual(['job', 'topic'])
    for (const { query, definition } of variables) {
      expect(definition).toBe(query.query)
      const [, selector, label] = /^label_values\((.+), (\w+)\)$/.exec(query.query)!
      for (const [source, samples] of sources) {
        for (const found of parsed(selector!).selectors) expect(faultsOf(found, [label!], samples), source).toEqual([])
      }
    }
    const used = new Set(
      JSON.stringify(panels)
        .match(/\$\{?(?!__)\w+/g)
        ?.map(name => name.replace(/\W/g, '')),
    )
    expect([...used].sort()).toEqual(dashboard.templating.list.map(({ name }: { name: string }) => name).sort())
  })

  it.each([
    ['sum(rxmika_partition_lags)', /is the name of 0 metrics/],
    ['sum(rxmika_stalls{messaging_destination_name="orders"})', /has no label messaging_destination_name/],
    ['sum by (error_types) (rate(rxmika_dead_letters_total[5m]))', /has no label error_types/],
    ['rate(rxmika_partition_lag[5m])', /is a gauge/],
    ['sum(rxmika_commits_total)', /is a counter/],
  ])('would not pass with %s', (query, fault) => {
    const { selectors, by } = parsed(query)
    for (const [, samples] of sources) expect(selectors.flatMap(of => faultsOf(of, by, samples)).join()).toMatch(fault)
  })

  it('is valid by Grafana’s own schema, panels of each type too', { timeout: 60_000 }, () => {
    const names = { stat: 'Stat', timeseries: 'TimeSeries' }
    const of = (what: (panel: Panel) => object) =>
      Object.fromEntries(Object.keys(names).map(type => [type, panels.filter(each => each.type === type).map(what)]))
    const options = of(({ options }) => options)
    const custom = of(({ fieldConfig }) => fieldConfig.defaults.custom ?? {})
    // Grafana writes a variable's `definition`, and its schema does not have it.
    const list = dashboard.templating.list.map(({ definition: _, ...variable }: { definition?: string }) => variable)
    const all = { ...dashboard, templating: { list } }
    const check = (whole: object, timeseries: unknown = options.timeseries) => `
      import type { Dashboard } from '@grafana/schema'
      import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen'
      import type {
        FieldConfig, Options as TimeSeries,
      } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen'
      // An enumeration's values, as JSON has them.
      type Loose<T> = T extends string ? \`\${T}\` : T extends number | boolean | undefined ? T : { [K in keyof T]: Loose<T[K]> }
      export const dashboard: Loose<Dashboard> = ${JSON.stringify(whole)}
      export const stat: Loose<Stat>[] = ${JSON.stringify(options.stat)}
      export const timeseries: Loose<TimeSeries>[] = ${JSON.stringify(timeseries)}
      export const custom: Loose<FieldConfig>[] = ${JSON.stringify(custom.timeseries)}`
    expect(new Set(panels.map(({ type }) => type))).toEqual(new Set(Object.keys(names)))
    const wrong = [
      check({ ...all, graphTooltip: 'both' }),
      check({ ...all, panel: [] }),
      check(all, [{ legend: { showLegend: true } }]),
    ]
    const errors = typeErrors({ 'dashboard.md': [check(all), ...wrong] })
    // The first one has no error, each of the others has one.
    expect(errors).toEqual([2, 3, 4].map(at => expect.stringMatching(new RegExp(`^dashboard\\.md ${at}\\.ts`))))
  })

  it('has panels that do not overlap, each with its own id', () => {
    const cells = new Set<string>()
    for (const { gridPos } of panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(cells.has(`${x} ${y}`)).toBe(false)
          cells.add(`${x} ${y}`)
        }
      }
    }
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
  })
})
