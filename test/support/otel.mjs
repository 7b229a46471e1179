/** Brings an SDK into a server, as docs/operations.md tells; spans that have ended are lines on stderr. */
import { NodeTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-node";

const exporter = {
  export(spans, done) {
    for (const span of spans) {
      const { name, kind, attributes, status, parentSpanContext } = span;
      const { traceId, spanId } = span.spanContext();
      process.stderr.write(
        `SPAN ${JSON.stringify({ name, kind, attributes, status, traceId, spanId, parent: parentSpanContext?.spanId })}\n`,
      );
    }
    done({ code: 0 });
  },
  shutdown: async () => {},
};
new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
