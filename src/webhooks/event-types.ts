/** What webhooks can be told of; docs/webhooks.md has what each message says. */
import { invalidField } from "../tenancy/validate.js";

export const eventTypes = ["warming.alert", "warming.storm", "scan.stale", "scan.recovered", "scan.brake"] as const;
export type EventType = (typeof eventTypes)[number];

/** Sent on demand only. */
export const testEvent = "webhook.test";

export const warmingTypes: readonly EventType[] = ["warming.alert", "warming.storm"];

/** Throws INVALID_ARGUMENT unless one at least is named, all are known, and none is there twice. */
export function parseEventTypes(names: readonly string[]): EventType[] {
  if (names.length === 0) throw invalidField("event_types", `is empty. Name one at least of ${eventTypes.join(", ")}.`);
  const types = names.map((name) => {
    const type = eventTypes.find((known) => known === name);
    if (type === undefined) throw invalidField("event_types", `has ${JSON.stringify(name)}, which is none of ${eventTypes.join(", ")}.`);
    return type;
  });
  if (new Set(types).size < types.length) throw invalidField("event_types", "names a type twice.");
  return types;
}
