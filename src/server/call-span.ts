/** The span of a call, as OpenTelemetry's conventions for RPC name it. */
import { Code, type ConnectError } from "@connectrpc/connect";
import { context, propagation, type Span, SpanKind, type TextMapGetter, trace } from "@opentelemetry/api";
import { failSpan, tracer } from "../tracing.js";

export interface CallSpan {
  /** For the log; undefined when nobody traces. */
  traceId: string | undefined;
  /** Runs `work` within it. */
  within<T>(work: () => T): T;
  /** `error`: the status it ended with; undefined: OK. */
  end(error: ConnectError | undefined, tenantId: string | undefined): void;
}

/** Of a server these are its own failures; the others are their callers'. */
const failures = new Set([Code.Unknown, Code.DeadlineExceeded, Code.Unimplemented, Code.Internal, Code.Unavailable, Code.DataLoss]);

/** A child of the caller's span, if a propagator finds one in the headers (W3C's: traceparent). */
export function beginCallSpan(service: string, method: string, header: Headers, requestId: string): CallSpan {
  const parent = propagation.extract(context.active(), header, headerGetter);
  const attributes = {
    "rpc.system": isGrpc(header) ? "grpc" : "connect_rpc",
    "rpc.service": service,
    "rpc.method": method,
    "frostline.request_id": requestId,
  };
  const span = tracer.startSpan(`${service}/${method}`, { kind: SpanKind.SERVER, attributes }, parent);
  const own = trace.setSpan(parent, span);
  return {
    traceId: span.isRecording() ? span.spanContext().traceId : undefined,
    within: (work) => context.with(own, work),
    end: (error, tenantId) => end(span, error, tenantId),
  };
}

function end(span: Span, error: ConnectError | undefined, tenantId: string | undefined): void {
  span.setAttribute("rpc.grpc.status_code", error?.code ?? 0);
  if (tenantId !== undefined) span.setAttribute("frostline.tenant_id", tenantId);
  if (error !== undefined && failures.has(error.code)) failSpan(span, Code[error.code]);
  span.end();
}

/** gRPC and gRPC-Web. */
function isGrpc(header: Headers): boolean {
  return header.get("content-type")?.startsWith("application/grpc") === true;
}

const headerGetter: TextMapGetter<Headers> = {
  get: (header, key) => header.get(key) ?? undefined,
  keys: (header) => [...header.keys()],
};
