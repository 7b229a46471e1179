/**
 * How much memory messages may take that are still on their way, beyond what an agent's usual ones do: a client that has sent all of a
 * message but its end holds it for as long as it likes, on each of its streams.
 */
import { DomainError } from "../errors.js";

/** Up to here a message is not counted: there are as many as there may be streams and calls. Agents send some 256 KiB. */
const usualBytes = 512 * 1024;

export interface MessageLimits {
  /** Of a tenant; of calls that need no key, of an address. */
  ofGroup: number;
  inTotal: number;
}

export const messageLimits: MessageLimits = { ofGroup: 64 * 1024 * 1024, inTotal: 192 * 1024 * 1024 };

/** One call's. */
export interface MessageRoom {
  /** So many bytes are held now. Throws RESOURCE_EXHAUSTED for more than there is room for; what was held before still is. */
  hold(bytes: number): void;
}

export class LargeMessages {
  readonly #limits: MessageLimits;
  #total = 0;
  /** Groups that hold nothing are forgotten. */
  readonly #ofGroup = new Map<string, number>();

  constructor(limits: MessageLimits = messageLimits) {
    this.#limits = limits;
  }

  /** Hold 0 in the end. */
  room(group: string): MessageRoom {
    let held = 0;
    return {
      hold: (bytes) => {
        const counted = bytes > usualBytes ? bytes : 0;
        this.#add(group, counted - held);
        held = counted;
      },
    };
  }

  #add(group: string, bytes: number): void {
    const ofGroup = (this.#ofGroup.get(group) ?? 0) + bytes;
    const { ofGroup: most, inTotal } = this.#limits;
    if (bytes > 0 && ofGroup > most) throw tooMuch("Your tenant's (without a key, your address's)", most);
    if (bytes > 0 && this.#total + bytes > inTotal) throw tooMuch("All tenants'", inTotal);
    this.#total += bytes;
    if (ofGroup === 0) this.#ofGroup.delete(group);
    else this.#ofGroup.set(group, ofGroup);
  }
}

function tooMuch(whose: string, bytes: number): DomainError {
  return new DomainError(
    "RESOURCE_EXHAUSTED",
    `${whose} messages of more than ${usualBytes} bytes that are still on their way take ${bytes} bytes at the most. Send smaller ones, or try again.`,
    { reason: "TOO_MANY_LARGE_MESSAGES", retryDelayMs: 5000 },
  );
}
