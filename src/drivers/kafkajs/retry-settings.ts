/** kafkajs tries again for ever, at least once a second: an outage then ends a second after the brokers are back. */
export const retry = { initialRetryTime: 100, maxRetryTime: 1_000, retries: Number.MAX_SAFE_INTEGER }
