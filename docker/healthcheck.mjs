// A container's health: asks /readyz of the HTTP port. Exit status 0: ready; 1: not, and stderr says why.
import * as http from "node:http";
import * as https from "node:https";

const anyAddress = { "0.0.0.0": "127.0.0.1", "::": "::1" };
const [, bracketed, plain, port] = /^(?:\[(.+)\]|(.+)):(\d+)$/.exec(process.env.FROSTLINE_HTTP_LISTEN ?? "") ?? [];
const address = bracketed ?? plain;

if (address === undefined) {
  console.error("FROSTLINE_HTTP_LISTEN is not set to host:port, so there is nothing to ask.");
  process.exitCode = 1;
} else {
  // It is this container's own server: its certificate need not name a loopback address.
  const options = { host: anyAddress[address] ?? address, port, path: "/readyz", timeout: 4000, agent: false, rejectUnauthorized: false };
  const { get } = process.env.FROSTLINE_TLS_CERT ? https : http;
  const request = get(options, async (response) => {
    response.setEncoding("utf8");
    const words = (await response.toArray()).join("");
    if (response.statusCode === 200) return;
    console.error(`${response.statusCode} ${words.trim()}`);
    process.exitCode = 1;
  });
  request.on("timeout", () => request.destroy(new Error("no answer within 4 s")));
  request.on("error", (error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
