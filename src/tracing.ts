/**
 * Spans, through OpenTelemetry's API alone: without an SDK in the process they cost next to nothing and go nowhere. docs/operations.md
 * tells how to bring one. No attribute holds a path, a name of a person, or a key.
 */
import { type Attributes, type Span, SpanStatusCode, trace } from "@opentelemetry/api";
import { sqlState } from "./db/errors.js";
import { DomainError } from "./errors.js";

/** Passes on to the SDK's, as soon as there is one. */
export const tracer = trace.getTracer("frostline");

/** Runs `work` within a span, a child of the one that is active; spans begun in `work` are its children. */
export function inSpan<T>(name: string, attributes: Attributes, work: (span: Span) => Promise<T>): Promise<T> {
  return tracer.startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      failSpan(span, errorKind(error));
      throw error;
    } finally {
      span.end();
    }
  });
}

/** `kind` is of few: a code, no message, which may have a path in it. */
export function failSpan(span: Span, kind: string): void {
  span.setStatus({ code: SpanStatusCode.ERROR, message: kind });
  span.setAttribute("error.type", kind);
}

/** The reason of a DomainError, the SQLSTATE of a database error, the name of any other. */
function errorKind(error: unknown): string {
  if (error instanceof DomainError) return error.reason;
  return sqlState(error) ?? (error instanceof Error ? error.name : typeof error);
}
