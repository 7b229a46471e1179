/** Settings of stored secrets and webhooks: part of config.ts, which reads the environment and calls this. */
import * as net from "node:net";
import * as path from "node:path";
import { z } from "zod";

export interface WebhookSettings {
  /** Ranges in CIDR notation that may be sent to although they are loopback, private or reserved; without TLS only these. */
  allowPrivate: string[];
  /** PEM file of authorities that receivers' certificates may be signed by, beside those that Node knows. */
  caFile: string | undefined;
  /** Between the attempts to deliver a message, in seconds: one less than there are attempts. */
  retrySeconds: number[];
}

/** The schedule that Standard Webhooks gives: ten attempts in three days. */
const defaultRetrySeconds = "5,300,1800,7200,18000,36000,50400,72000,86400";
const attemptsAtMost = 50;
const waitSecondsAtMost = 604_800;

export const webhookEnvironment = {
  FROSTLINE_MASTER_KEY_FILE: z
    .string()
    .transform((file) => path.resolve(file))
    .optional()
    .describe(
      "file of master keys, which secrets are encrypted under in the end ([secrets.md](secrets.md)); unset: `master.key` beside an embedded database, made when it is missing; with a database of your own no secrets, and so no webhooks",
    ),
  FROSTLINE_WEBHOOK_ALLOW_PRIVATE: z
    .string()
    .default("")
    .transform(parseRanges)
    .describe(
      "ranges of addresses, as `10.1.0.0/16,fd00::/8`, that webhooks may be sent to although they are loopback, private or reserved, and without TLS ([webhooks.md](webhooks.md))",
    ),
  FROSTLINE_WEBHOOK_CA: z
    .string()
    .transform((file) => path.resolve(file))
    .optional()
    .describe("PEM file: authorities that receivers' certificates may be signed by, beside those that Node knows"),
  FROSTLINE_WEBHOOK_RETRY_SECONDS: z
    .string()
    .default(defaultRetrySeconds)
    .transform(parseWaits)
    .describe("waits between the attempts to deliver a message; a random part of up to a fifth is added"),
};

export function webhookSettings(settings: z.output<z.ZodObject<typeof webhookEnvironment>>): WebhookSettings {
  return {
    allowPrivate: settings.FROSTLINE_WEBHOOK_ALLOW_PRIVATE,
    caFile: settings.FROSTLINE_WEBHOOK_CA,
    retrySeconds: settings.FROSTLINE_WEBHOOK_RETRY_SECONDS,
  };
}

function parseRanges(text: string, context: z.RefinementCtx): string[] {
  const ranges = text
    .split(",")
    .map((range) => range.trim())
    .filter((range) => range !== "");
  if (ranges.every(isRange)) return ranges;
  context.addIssue({ code: "custom", message: "expected ranges of addresses such as 10.0.0.0/8 or fd00::/8, separated by commas" });
  return z.NEVER;
}

function isRange(text: string): boolean {
  const [, address = "", bits] = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(text) ?? [];
  const version = net.isIP(address);
  return version !== 0 && Number(bits) <= (version === 4 ? 32 : 128);
}

function parseWaits(text: string, context: z.RefinementCtx): number[] {
  const waits = text.split(",").map((wait) => wait.trim());
  if (
    waits.length < attemptsAtMost &&
    waits.every((wait) => /^\d{1,6}$/.test(wait) && Number(wait) >= 1 && Number(wait) <= waitSecondsAtMost)
  ) {
    return waits.map(Number);
  }
  context.addIssue({
    code: "custom",
    message: `expected up to ${attemptsAtMost - 1} whole numbers from 1 to ${waitSecondsAtMost}, separated by commas`,
  });
  return z.NEVER;
}
