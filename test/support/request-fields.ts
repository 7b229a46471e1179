/** Requests as JSON: in what two differ, and which of their fields name something. */
import { type DescField, type DescMessage, type JsonValue, ScalarType } from "@bufbuild/protobuf";

/** `own` with one value after the other replaced by the one that `other` has in its place, where they differ. */
export function replacements(own: JsonValue, other: JsonValue): JsonValue[] {
  if (JSON.stringify(own) === JSON.stringify(other)) return [];
  if (typeof own !== "object" || own === null || typeof other !== "object" || other === null) return [other];
  const values = new Map(Object.entries(other));
  // Keys that are names.
  if (Object.keys(own).join() !== [...values.keys()].join()) return [other];
  return Object.entries(own).flatMap(([key, value]) =>
    replacements(value, values.get(key) as JsonValue).map((one) =>
      Array.isArray(own) ? own.map((item, n) => (String(n) === key ? one : item)) : { ...own, [key]: one },
    ),
  );
}

/** `Message.field` of each field, at any depth, in which the two differ. */
export function differingFields(message: DescMessage, own: JsonValue, other: JsonValue): string[] {
  return message.fields.flatMap((field) => {
    const [a, b] = [own, other].map((json) => (json as Record<string, JsonValue>)[field.jsonName]);
    if (a === undefined || b === undefined || JSON.stringify(a) === JSON.stringify(b)) return [];
    const inner = messageOf(field);
    if (inner === undefined) return [`${message.name}.${field.localName}`];
    const [items, others] = [a, b].map((json) => (Array.isArray(json) ? json : [json]));
    return (items ?? []).flatMap((item, n) => differingFields(inner, item, others?.[n] as JsonValue));
  });
}

/** `Message.field` of each field, at any depth, that has a text, bytes, or an id or position in a sequence. */
export function namingFields(message: DescMessage, above: DescMessage[] = []): string[] {
  if (above.includes(message) || message.typeName.startsWith("google.")) return [];
  return message.fields.flatMap((field) => {
    const inner = messageOf(field);
    if (inner !== undefined) return namingFields(inner, [...above, message]);
    return mayName(field) ? [`${message.name}.${field.localName}`] : [];
  });
}

function messageOf(field: DescField): DescMessage | undefined {
  return field.fieldKind === "message" || (field.fieldKind === "list" && field.listKind === "message") ? field.message : undefined;
}

function mayName(field: DescField): boolean {
  if (field.fieldKind === "map") return true;
  return field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES || /(ids?|position)$/i.test(field.localName);
}
