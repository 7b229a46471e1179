/** What the schema of the settings says of them, for docs/settings.md. */
import { z } from "zod";

export interface DescribedSetting {
  name: string;
  /** What counts when the variable is unset or empty; undefined: there is none, or what the description says. */
  fallback: string | undefined;
  /** Markdown, links as from docs/. */
  description: string;
}

/** In the order of the schema. Throws when a setting has no description. */
export function describeSettings(environment: z.ZodObject): DescribedSetting[] {
  return Object.entries(environment.shape).map(([name, schema]) => {
    const { description } = schema as z.ZodType;
    if (description === undefined) throw new Error(`The setting ${name} has no description.`);
    return { name, fallback: fallbackOf(schema) || undefined, description };
  });
}

/** The default as a text, below what refines and transforms it. */
function fallbackOf(schema: unknown): string | undefined {
  if (schema instanceof z.ZodPipe) return fallbackOf(schema.def.in);
  return schema instanceof z.ZodDefault ? String(schema.def.defaultValue) : undefined;
}
