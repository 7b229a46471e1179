/** Secrets that the tests made, and where they must not be: in what a server logs, answers in errors, measures. */
import { inject } from "vitest";

/** Of a secret's part that is random, so many characters from its start give it away. */
const prefixCharacters = 12;

/** What looks like one of ours, whoever made it: API keys, webhook secrets, tokens. Their first characters are no secret. */
const forms: [string, RegExp][] = [
  ["an API key", /fl_[\w-]{12}/],
  ["a webhook secret", /whsec_[\w+/-]{12}/],
  ["a token", /eyJ[\w-]{9,}\.eyJ[\w-]/],
];

const known = new Map<string, string>();

/** From now on no server of this test file may tell it. `what` is said when one does. */
export function rememberSecret(what: string, secret: string | Uint8Array): void {
  const spellings = typeof secret === "string" ? [secret.replace(/^(fl|whsec)_/, "")] : spellingsOf(secret);
  for (const spelling of spellings) if (spelling.length >= prefixCharacters) known.set(spelling.slice(0, prefixCharacters), what);
}

function spellingsOf(bytes: Uint8Array): string[] {
  const buffer = Buffer.from(bytes);
  return [buffer.toString("hex"), buffer.toString("base64"), buffer.toString("base64url"), buffer.toString("latin1"), [...bytes].join()];
}

/** What secrets the text has, said without telling them. */
export function secretsIn(text: string): string[] {
  rememberPasswords();
  const found = forms.flatMap(([what, form]) => (form.test(text) ? [`${what} (${form.exec(text)?.[0].slice(0, 6)}...)`] : []));
  for (const [start, what] of known) if (text.includes(start)) found.push(`${what} (${start.slice(0, 3)}...)`);
  return found;
}

/** Those of the run's PostgreSQL. */
function rememberPasswords(): void {
  const { passwords, superuserUrl } = inject("cluster");
  rememberSecret("the runtime role's password", passwords.runtime);
  rememberSecret("the owner's password", passwords.owner);
  rememberSecret("the superuser's password", new URL(superuserUrl).password);
}
