/** How a client logs in. The mechanisms are Kafka's (KIP-12, KIP-84, KIP-255), and `aws` for MSK. */
export type SaslOptions =
  /** By user name and password. */
  | {
      readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
      readonly username: string
      readonly password: string
    }
  /** By a token that the program gets from elsewhere. */
  | {
      readonly mechanism: 'oauthbearer'
      /** Called for a token at each login of a connection. If it rejects, the reason is logged and it is called again. */
      readonly oauthBearerProvider: () => Promise<{ readonly value: string }>
    }
  /** By IAM credentials of AWS. */
  | {
      readonly mechanism: 'aws'
      /** The `UserId` or `RoleId` of the user or role. */
      readonly authorizationIdentity: string
      readonly accessKeyId: string
      readonly secretAccessKey: string
      readonly sessionToken?: string | undefined
    }
