import { expect, test } from "vitest";
import { addressPolicy } from "./addresses.js";
import { parseTarget } from "./target.js";

const strict = addressPolicy([]);

test.each([
  "0.0.0.0",
  "0.1.2.3",
  "10.0.0.1",
  "100.64.0.1",
  "100.127.255.255",
  "127.0.0.1",
  "127.255.255.254",
  "169.254.169.254",
  "172.16.0.1",
  "172.31.255.255",
  "192.0.0.8",
  "192.0.2.1",
  "192.88.99.1",
  "192.168.1.1",
  "198.18.0.1",
  "198.51.100.7",
  "203.0.113.9",
  "224.0.0.1",
  "239.255.255.255",
  "240.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "::7f00:1",
  "::ffff:127.0.0.1",
  "::ffff:a00:1",
  "0:0:0:0:0:ffff:10.0.0.1",
  "64:ff9b::a00:1",
  "64:ff9b:1::1",
  "100::1",
  "2001::1",
  "2001:0:a00:1::",
  "2001:db8::1",
  "2002:a00:1::",
  "3fff::1",
  "5f00::1",
  "fc00::1",
  "fd12:3456::1",
  "fe80::1",
  "fe80::1%eth0",
  "2606:4700::1%eth0",
  "fec0::1",
  "ff02::1",
  "localhost",
  "",
])("%s is refused", (address) => {
  expect(strict.allows(address, true)).toBe(false);
});

test.each([
  "1.1.1.1",
  "93.184.215.14",
  "100.63.255.255",
  "100.128.0.1",
  "172.15.0.1",
  "172.32.0.1",
  "2606:4700::1111",
  "2a00:1450::1",
  "::ffff:1.1.1.1",
])("%s is public: allowed with TLS, and without it only when it is named", (address) => {
  expect(strict.allows(address, true)).toBe(true);
  expect(strict.allows(address, false)).toBe(false);
});

test("what the operator names is allowed, without TLS too, and nothing beside it", () => {
  const some = addressPolicy(["10.1.0.0/16", "fd00::/8"]);
  for (const address of ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"]) expect(some.allows(address, false), address).toBe(true);
  for (const address of ["10.2.0.1", "fc00::1", "127.0.0.1", "::1"]) expect(some.allows(address, true), address).toBe(false);
});

test("however an address is spelt, it is the one that is judged", () => {
  const spelt = ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "①②⑦.0.0.1"];
  for (const host of spelt) expect(() => parseTarget(`https://${host}/`, strict), host).toThrow(/is of an address that is refused/);
  expect(parseTarget("https://hooks.example.com:8443/a?b=c", strict)).toBe("https://hooks.example.com:8443/a?b=c");
  // A name is judged when it is connected to.
  expect(parseTarget("https://localhost/", strict)).toBe("https://localhost/");
});
