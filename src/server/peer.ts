/** Where a call came from, as far as the connection tells. */
import { createContextKey } from "@connectrpc/connect";

export interface Peer {
  /** IP address; undefined when the connection has gone. */
  address: string | undefined;
  /** Why the caller's certificate will not do, in OpenSSL's words; undefined: it does, or none is asked for. */
  certificateRefused: string | undefined;
}

export const peerKey = createContextKey<Peer>({ address: undefined, certificateRefused: undefined }, { description: "peer" });
