/**
 * Connections on which nobody has shown a valid key or token yet, where it is not HTTP/2 that is spoken (connections.ts): before a TLS
 * handshake has ended, and over HTTP/1.1. One address must not take all that a port accepts: probes come in by the same door.
 */
import type { Socket } from "node:net";
import type { Logger } from "../log.js";

/** A TLS socket has the same as the one that it is a view of. */
type RemoteEnd = Pick<Socket, "remoteAddress" | "remotePort">;

export class UnknownSockets {
  /** Remote ports, by remote address. */
  readonly #ports = new Map<string, Set<number>>();
  readonly #perAddress: number;
  readonly #log: Logger;

  constructor(perAddress: number, log: Logger) {
    this.#perAddress = perAddress;
    this.#log = log;
  }

  /** Drops the connection if its address has too many. */
  add(socket: Socket): void {
    const { remoteAddress: address, remotePort: port } = socket;
    // It has gone already.
    if (address === undefined || port === undefined) return;
    const ports = this.#ports.get(address) ?? new Set();
    if (ports.size >= this.#perAddress) {
      this.#log.debug({ peer: address }, "an address has too many connections without a valid key: one is dropped");
      socket.destroy();
      return;
    }
    this.#ports.set(address, ports.add(port));
    socket.once("close", () => this.#forget(address, port));
  }

  /** A call on it has shown a valid key or token, or it turned out to speak HTTP/2. */
  known({ remoteAddress, remotePort }: RemoteEnd): void {
    if (remoteAddress !== undefined && remotePort !== undefined) this.#forget(remoteAddress, remotePort);
  }

  #forget(address: string, port: number): void {
    const ports = this.#ports.get(address);
    if (ports?.delete(port) && ports.size === 0) this.#ports.delete(address);
  }
}
