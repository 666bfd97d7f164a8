/** The broker of a client and of the command line that are given none. */
export const defaultBroker = 'localhost:29092'
