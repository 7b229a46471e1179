/** Where a call came from, as far as the connection tells. */
import { createContextKey } from "@connectrpc/connect";

export interface Peer {
  /** IP address; undefined when the connection has gone. */
  address: string | undefined;
  /** Why the caller's certificate will not do, in OpenSSL's words; undefined: it does, or none is asked for. */
  certificateRefused: string | undefined;
  /** How many `authorization` headers the request has: Node drops all but one, and a proxy may have looked at another. */
  authorizations: number;
}

export const peerKey = createContextKey<Peer>(
  { address: undefined, certificateRefused: undefined, authorizations: 0 },
  { description: "peer" },
);
