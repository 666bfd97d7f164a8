import { mergeMap, type ObservableInput, type OperatorFunction, of } from 'rxjs'
import { type Completed, type Failed, isCompleted } from '../failure.js'

/** Routes what is still `Failed` and lets what is `Completed` pass: the shape of every step. */
export function eachFailed<R extends Failed | Completed>(
  project: (failed: Failed) => ObservableInput<R>,
): OperatorFunction<Failed | Completed, R | Completed> {
  return mergeMap((value): ObservableInput<R | Completed> => (isCompleted(value) ? of(value) : project(value)))
}
