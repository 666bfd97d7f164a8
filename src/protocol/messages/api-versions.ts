import { array } from '../schema/array.js'
import { ignorable, since, tagged } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf, type VersionRange } from '../schema/message.js'
import { bool, int16, int32, int64, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Which messages a broker serves, in which versions. The first request of a connection.
 *
 * A broker that does not know the version answers with version 0 and UNSUPPORTED_VERSION, and names those it knows.
 * Listed is not served: 3.9 lists ConsumerGroupHeartbeat and refuses it.
 *
 * Source: ApiVersionsRequest.json and ApiVersionsResponse.json of Apache Kafka 4.4.0.
 */
export const apiVersions = message({
  name: 'ApiVersions',
  key: 18,
  versions: [0, 4],
  flexibleSince: 3,
  flexibleResponseHeader: false,
  request: struct({
    clientSoftwareName: ignorable(since(3, string, '')),
    clientSoftwareVersion: ignorable(since(3, string, '')),
  }),
  response: struct({
    errorCode: int16,
    apiKeys: array(struct({ apiKey: int16, minVersion: int16, maxVersion: int16 })),
    throttleTimeMs: ignorable(since(1, int32, 0)),
    supportedFeatures: tagged(
      0,
      ignorable(since(3, array(struct({ name: string, minVersion: int16, maxVersion: int16 })), [])),
    ),
    finalizedFeaturesEpoch: tagged(1, ignorable(since(3, int64, -1n))),
    finalizedFeatures: tagged(
      2,
      ignorable(since(3, array(struct({ name: string, maxVersionLevel: int16, minVersionLevel: int16 })), [])),
    ),
    zkMigrationReady: tagged(3, ignorable(since(3, bool, false))),
  }),
})

export type ApiVersionsRequest = RequestOf<typeof apiVersions>
export type ApiVersionsResponse = ResponseOf<typeof apiVersions>

/** By API key the versions that a broker serves. */
export function servedVersions({ apiKeys }: ApiVersionsResponse): ReadonlyMap<number, VersionRange> {
  return new Map(apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, { min: minVersion, max: maxVersion }]))
}
