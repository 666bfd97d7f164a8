import { array } from '../schema/array.js'
import { ignorable, since, tagged } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf, type VersionRange } from '../schema/message.js'
import { bool, int16, int32, int64, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Which messages a broker serves, in which versions. It is the first request of a connection.
 *
 * A broker that does not know the request's version answers with version 0, UNSUPPORTED_VERSION and the versions it knows.
 * A listed message may still be refused: 3.9 lists ConsumerGroupHeartbeat and refuses it.
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

/** The versions that a broker serves, by API key. */
export function servedVersions({ apiKeys }: ApiVersionsResponse): ReadonlyMap<number, VersionRange> {
  return new Map(apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, { min: minVersion, max: maxVersion }]))
}
