/** The issuer's public keys: kept, and read again when they are old or a token names one that is not among them. */
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";
import type { TokenKeySource } from "../../config-tokens.js";
import { DomainError } from "../../errors.js";
import type { Logger } from "../../log.js";
import { readKeys } from "./read-keys.js";

export interface KeyTimes {
  /** Keys are read again once they are older; what is going on goes on with the old ones. */
  freshMs: number;
  /** While they cannot be read, keys of this age still count. */
  usableMs: number;
  /** Between two attempts to read them. */
  cooldownMs: number;
}

/** A key that its issuer took back counts for so long at the most, and for an hour while the issuer cannot be reached. */
const urlTimes = { freshMs: 600_000, usableMs: 3_600_000 };
/** Of a file the last good contents stay, as with certificates. */
const fileTimes: KeyTimes = { freshMs: 5_000, usableMs: Number.POSITIVE_INFINITY, cooldownMs: 1_000 };

export interface IssuerKeysOptions {
  source: TokenKeySource;
  /** Of a URL. */
  cooldownMs: number;
  log: Logger;
  onRead: (outcome: "done" | "failed") => void;
}

export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  readonly #times: KeyTimes;
  #set: JWTVerifyGetKey | undefined;
  #text = "";
  #generation = 0;
  #readMs = Number.NEGATIVE_INFINITY;
  #askedMs = Number.NEGATIVE_INFINITY;
  #problem: Error | undefined;
  #asking: Promise<void> | undefined;

  constructor(options: IssuerKeysOptions) {
    this.#options = options;
    this.#times = options.source.kind === "file" ? fileTimes : { ...urlTimes, cooldownMs: options.cooldownMs };
  }

  /** Another number than before: the keys have changed, and what was verified by the old ones has to be verified again. */
  get generation(): number {
    return this.#generation;
  }

  /** Why they could not be read the last time; undefined: they were. */
  get problem(): Error | undefined {
    return this.#problem;
  }

  /** The key that a token's header names. Throws UNAVAILABLE while there are no keys, and jose's errors for keys that there are not. */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    if (this.#ageMs() > this.#times.freshMs) {
      const refreshed = this.refresh();
      // Nobody waits for an issuer as long as its last keys will do.
      if (!this.#isUsable()) await refreshed;
    }
    if (this.#set === undefined || !this.#isUsable()) throw this.#unavailable();
    try {
      return await this.#set(header, token);
    } catch (error) {
      if (error instanceof errors.JWKSInvalid) throw this.#unavailable(error);
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    await this.refresh();
    try {
      return await this.#set(header, token);
    } catch (error) {
      // Whether the issuer has made a new key nobody knows.
      if (error instanceof errors.JWKSNoMatchingKey && this.#problem !== undefined) throw this.#unavailable();
      throw error;
    }
  };

  /** Reads them now, unless that was tried a moment ago. All callers share one attempt. Never throws: see `find`. */
  refresh(): Promise<void> {
    if (this.#asking !== undefined) return this.#asking;
    if (performance.now() - this.#askedMs < this.#times.cooldownMs) return Promise.resolve();
    this.#askedMs = performance.now();
    this.#asking = this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<void> {
    const { source, log, onRead } = this.#options;
    try {
      this.#take(await readKeys(source));
      if (this.#problem !== undefined) log.info("tokens: the issuer's keys can be read again");
      this.#problem = undefined;
      onRead("done");
    } catch (error) {
      const problem = error as Error;
      // Of a file that stays as it is, said once.
      if (source.kind !== "file" || problem.message !== this.#problem?.message) {
        log.warn({ problem: problem.message }, "tokens: the issuer's keys cannot be read; the last ones stay while they are not too old");
      }
      this.#problem = problem;
      onRead("failed");
    }
  }

  #take(text: string): void {
    if (text !== this.#text || this.#set === undefined) {
      this.#set = createLocalJWKSet(parseKeys(text));
      this.#text = text;
      this.#generation += 1;
    }
    this.#readMs = performance.now();
  }

  #ageMs(): number {
    return performance.now() - this.#readMs;
  }

  #isUsable(): boolean {
    return this.#ageMs() <= this.#times.usableMs;
  }

  #unavailable(cause: Error | undefined = this.#problem): DomainError {
    return new DomainError(
      "UNAVAILABLE",
      "The token cannot be verified: the keys of its issuer cannot be read at the moment. Try again; the server's log says why.",
      { reason: "ISSUER_UNAVAILABLE", retryDelayMs: Math.max(1_000, this.#times.cooldownMs), ...(cause === undefined ? {} : { cause }) },
    );
  }
}

/** What it quotes of the text stays out of the message. */
function parseKeys(text: string): JSONWebKeySet {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("the issuer's keys are not JSON");
  }
  const { keys } = (value ?? {}) as { keys?: unknown };
  if (!Array.isArray(keys)) throw new Error('the issuer\'s keys are not a JSON Web Key Set: {"keys": [...]}');
  return value as JSONWebKeySet;
}
