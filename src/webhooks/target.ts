/** The address a tenant gives. What can be known of it without asking the network is known at once. */
import * as net from "node:net";
import { invalidField } from "../tenancy/validate.js";
import type { AddressPolicy } from "./addresses.js";

const urlCharsAtMost = 2000;

/** Its normal form. Throws INVALID_ARGUMENT, without the address: it may hold a secret. */
export function parseTarget(text: string, policy: AddressPolicy): string {
  if (text.length > urlCharsAtMost) throw invalidField("url", `has more than ${urlCharsAtMost} characters.`);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw invalidField("url", "is not an address such as https://example.com/hook.");
  const secure = url.protocol === "https:";
  if (!secure && !policy.allowsPlaintext) {
    throw invalidField(
      "url",
      "is not https. Without TLS only addresses are allowed that the server's FROSTLINE_WEBHOOK_ALLOW_PRIVATE names.",
    );
  }
  if (url.username !== "" || url.password !== "")
    throw invalidField("url", "has a user name or password. Messages are signed; check the signature instead.");
  if (url.hash !== "") throw invalidField("url", "has a fragment, which is never sent.");
  const host = literalHost(url);
  if (host !== undefined && !policy.allows(host, secure)) throw invalidField("url", `is of an address that is refused: ${refusedWords}`);
  return url.href;
}

/** Its host when that is an address in numbers, without brackets. */
export function literalHost(url: URL): string | undefined {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return net.isIP(host) === 0 ? undefined : host;
}

export const refusedWords =
  "loopback, private and reserved addresses are, unless the server's FROSTLINE_WEBHOOK_ALLOW_PRIVATE names them; others need https.";
