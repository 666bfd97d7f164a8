/** How a client logs in. Mechanisms are those of Kafka (KIP-12, KIP-84, KIP-255) and, for MSK, `aws`. */
export type SaslOptions =
  | {
      readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
      readonly username: string
      readonly password: string
    }
  | {
      readonly mechanism: 'oauthbearer'
      /** Asked for a token whenever a connection logs in. Where it rejects, that is logged, and it is asked again. */
      readonly oauthBearerProvider: () => Promise<{ readonly value: string }>
    }
  | {
      readonly mechanism: 'aws'
      /** Of the user or role: `UserId` or `RoleId`. */
      readonly authorizationIdentity: string
      readonly accessKeyId: string
      readonly secretAccessKey: string
      readonly sessionToken?: string | undefined
    }
