/** grpc.reflection.v1.ServerReflection: the server's own contract, out of the generated descriptors. */
import { type DescFile, type DescService, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import { DomainError } from "../errors.js";
import type { ServerReflection, ServerReflectionRequest, ServerReflectionResponseSchema } from "../gen/grpc/reflection/v1/reflection_pb.js";

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;

/** What can be asked for, by name. */
interface Contract {
  services: readonly DescService[];
  files: ReadonlyMap<string, DescFile>;
  symbols: ReadonlyMap<string, DescFile>;
}

export function reflectionService(services: readonly DescService[], drainSignal: AbortSignal): ServiceImpl<typeof ServerReflection> {
  const contract = readContract(services);
  return {
    async *serverReflectionInfo(requests) {
      for await (const request of untilAborted(requests, drainSignal)) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(contract, request) };
      }
    },
  };
}

function readContract(services: readonly DescService[]): Contract {
  const files = new Map<string, DescFile>();
  for (const service of services) for (const file of withDependencies(service.file)) files.set(file.proto.name, file);
  const symbols = new Map([...files.values()].flatMap((file) => symbolsOf(file).map((symbol) => [symbol, file] as const)));
  return { services, files, symbols };
}

/** The file, and all that it needs, each once. */
function withDependencies(file: DescFile, found = new Set<DescFile>()): Set<DescFile> {
  if (found.has(file)) return found;
  found.add(file);
  for (const needed of file.dependencies) withDependencies(needed, found);
  return found;
}

function symbolsOf(file: DescFile): string[] {
  const symbols: string[] = [];
  for (const type of nestedTypes(file)) {
    symbols.push(type.typeName);
    if (type.kind === "service") symbols.push(...type.methods.map(({ name }) => `${type.typeName}.${name}`));
    if (type.kind === "message") symbols.push(...type.fields.map(({ name }) => `${type.typeName}.${name}`));
    if (type.kind === "message") symbols.push(...type.oneofs.map(({ name }) => `${type.typeName}.${name}`));
    // Values stand beside their enum, as in C.
    if (type.kind === "enum") symbols.push(...type.values.map(({ name }) => type.typeName.replace(/[^.]+$/, name)));
  }
  return symbols;
}

function answer({ services, files, symbols }: Contract, { messageRequest }: ServerReflectionRequest): Answer {
  switch (messageRequest.case) {
    case "listServices":
      return { case: "listServicesResponse", value: { service: services.map(({ typeName }) => ({ name: typeName })) } };
    case "fileByFilename":
      return fileAnswer(files.get(messageRequest.value), `file ${JSON.stringify(messageRequest.value)}`);
    case "fileContainingSymbol":
      return fileAnswer(symbols.get(messageRequest.value), `symbol ${JSON.stringify(messageRequest.value)}`);
    case "fileContainingExtension":
      return problem(Code.NotFound, "This contract has no extensions.");
    case "allExtensionNumbersOfType":
      if (!symbols.has(messageRequest.value))
        return problem(Code.NotFound, `This contract has no type ${JSON.stringify(messageRequest.value)}.`);
      return { case: "allExtensionNumbersResponse", value: { baseTypeName: messageRequest.value, extensionNumber: [] } };
    case undefined:
      return problem(Code.InvalidArgument, "The request asks for nothing: set one of its fields.");
  }
}

function fileAnswer(file: DescFile | undefined, what: string): Answer {
  if (file === undefined) return problem(Code.NotFound, `This contract has no ${what}.`);
  const fileDescriptorProto = [...withDependencies(file)].map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function problem(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}

/** A tool may keep its stream open for as long as it likes; a stopping server does not wait for it. Throws UNAVAILABLE then. */
async function* untilAborted<T>(messages: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const source = messages[Symbol.asyncIterator]();
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(new DomainError("UNAVAILABLE", "The server is stopping. Try again.", { reason: "SERVER_DRAINING" }));
  });
  // It may never be waited for.
  aborted.catch(() => {});
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    for (;;) {
      const next = await Promise.race([source.next(), aborted]);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
