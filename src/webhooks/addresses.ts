/**
 * Which addresses a webhook may be sent to. A tenant names them, and the server stands where the tenant does not: without this,
 * whoever may make a webhook may ask the server's own network. What counts is the address that is connected to, not what a name
 * led to some time before.
 */
import * as net from "node:net";

/** IANA's registries of special-purpose addresses, and multicast. */
const refusedV4 = [
  "0.0.0.0/8", // this network
  "10.0.0.0/8", // private
  "100.64.0.0/10", // carrier-grade NAT
  "127.0.0.0/8", // loopback
  "169.254.0.0/16", // link-local, where clouds have their metadata
  "172.16.0.0/12", // private
  "192.0.0.0/24", // protocol assignments
  "192.0.2.0/24", // documentation
  "192.31.196.0/24", // AS112
  "192.52.193.0/24", // automatic tunnelling
  "192.88.99.0/24", // 6to4 relays
  "192.168.0.0/16", // private
  "192.175.48.0/24", // AS112
  "198.18.0.0/15", // benchmarks
  "198.51.100.0/24", // documentation
  "203.0.113.0/24", // documentation
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved, and broadcast
];
/** Of IPv6 only this is public: so loopback, link-local, unique local, multicast, IPv4-mapped and NAT64 are out. */
const publicV6 = "2000::/3";
/** But for these. */
const refusedV6 = [
  "2001::/23", // protocol assignments, Teredo among them: it holds an IPv4 address
  "2001:db8::/32", // documentation
  "2002::/16", // 6to4: holds an IPv4 address
  "2620:4f:8000::/48", // AS112
  "3fff::/20", // documentation
];

const refused = blockList([...refusedV4, ...refusedV6]);
const globalV6 = blockList([publicV6]);

export interface AddressPolicy {
  /** Whether `address`, in numbers, may be connected to; without TLS only those that the operator named. */
  allows(address: string, secure: boolean): boolean;
  /** Whether any may be spoken to without TLS. */
  allowsPlaintext: boolean;
}

/** `allowed` are ranges in CIDR notation that may be connected to although they are refused otherwise. Throws for what is no range. */
export function addressPolicy(allowed: readonly string[]): AddressPolicy {
  const named = blockList(allowed);
  return {
    allows(address, secure) {
      const plain = unmapped(address);
      const family = familyOf(plain);
      if (family === undefined) return false;
      if (named.check(plain, family)) return true;
      return secure && !refused.check(plain, family) && (family === "ipv4" || globalV6.check(plain, family));
    },
    allowsPlaintext: allowed.length > 0,
  };
}

/** Throws for what is no range. */
function blockList(ranges: readonly string[]): net.BlockList {
  const list = new net.BlockList();
  for (const range of ranges) {
    const [address = "", bits] = range.split("/");
    list.addSubnet(address, Number(bits), familyOf(address));
  }
  return list;
}

function familyOf(address: string): "ipv4" | "ipv6" | undefined {
  // A zone (fe80::1%eth0) names an interface of this machine.
  if (address.includes("%")) return undefined;
  const version = net.isIP(address);
  if (version === 0) return undefined;
  return version === 4 ? "ipv4" : "ipv6";
}

/** An IPv4 address in IPv6's clothes is connected to as the IPv4 address it is. */
function unmapped(address: string): string {
  if (net.isIP(address) !== 6 || address.includes("%")) return address;
  // The one notation: of ::ffff:0:0/96 it leaves `[::ffff:7f00:1]`.
  const [, high, low] = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(new URL(`http://[${address}]/`).hostname) ?? [];
  if (high === undefined || low === undefined) return address;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [a >> 8, a & 0xff, b >> 8, b & 0xff].join(".");
}
