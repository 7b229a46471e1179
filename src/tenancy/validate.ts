/** Checks of what callers send; every failure is INVALID_ARGUMENT and names the field. */
import { DomainError } from "../errors.js";

const nameCharsAtMost = 200;
/** Control characters, and the two line separators. */
const control = /[\p{Cc}\u2028\u2029]/u;

/** INVALID_ARGUMENT about one field. `problem` goes on from the field's name. */
export function invalidField(field: string, problem: string): DomainError {
  return new DomainError("INVALID_ARGUMENT", `${field} ${problem}`, { reason: "INVALID_FIELD", metadata: { field } });
}

/** Throws unless `text` is a name: 1 to 200 characters, none of them a control character. */
export function assertName(field: string, text: string): void {
  const { length } = [...text];
  if (length === 0) throw invalidField(field, "is empty.");
  if (length > nameCharsAtMost) throw invalidField(field, `has ${length} characters; at most ${nameCharsAtMost} are allowed.`);
  if (control.test(text)) throw invalidField(field, "has a control character.");
}

/** Throws unless `text` has the form of a UUID; lower case afterwards. */
export function parseUuid(field: string, text: string): string {
  const lower = text.toLowerCase();
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(lower)) throw invalidField(field, "is not a UUID.");
  return lower;
}
