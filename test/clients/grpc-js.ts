/** `@grpc/grpc-js` alone, with nothing of ours: it learns the contract by reflection, and makes messages of it as it runs. */
import { once } from "node:events";
import { create, createFileRegistry, type DescMethod, type FileRegistry, fromBinary, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import {
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from "../../src/gen/grpc/reflection/v1/reflection_pb.js";
import type { Scope } from "../support/tenant.js";
import { type Json, runInJson } from "./in-json.js";
import type { ForeignClient } from "./scenario.js";

export const grpcJs: ForeignClient = {
  name: "@grpc/grpc-js by reflection",
  missing: () => undefined,
  async run(scenario) {
    const client = new Client(scenario.server.address, credentials.createInsecure());
    try {
      const contract = await readContract(client);
      const bearer = (scope: Scope) => {
        const metadata = new Metadata();
        metadata.set("authorization", `Bearer ${scenario.server.keys[scope]}`);
        return metadata;
      };
      return await runInJson(scenario, {
        unary(scope, name, request) {
          const { path, serialize, deserialize } = describe(contract, name);
          return new Promise((resolve, reject) => {
            client.makeUnaryRequest(path, serialize, deserialize, request, bearer(scope), (error, answer) =>
              error === null ? resolve(answer) : reject(error),
            );
          });
        },
        clientStream(scope, name, requests) {
          const { path, serialize, deserialize } = describe(contract, name);
          return new Promise((resolve, reject) => {
            const call = client.makeClientStreamRequest(path, serialize, deserialize, bearer(scope), (error, answer) =>
              error === null ? resolve(answer) : reject(error),
            );
            for (const request of requests) call.write(request);
            call.end();
          });
        },
        async serverStream(scope, name, request) {
          const { path, serialize, deserialize } = describe(contract, name);
          return client.makeServerStreamRequest(path, serialize, deserialize, request, bearer(scope)).toArray();
        },
      });
    } finally {
      client.close();
    }
  },
};

function describe(contract: FileRegistry, name: string) {
  const [service, method] = name.split("/");
  const found = contract.getService(`frostline.v1.${service}`)?.methods.find((candidate) => candidate.name === method);
  if (found === undefined) throw new Error(`Reflection told of no ${name}.`);
  return { path: `/frostline.v1.${name}`, ...codecOf(found) };
}

function codecOf({ input, output }: DescMethod) {
  return {
    serialize: (request: Json) => Buffer.from(toBinary(input, fromJson(input, request))),
    deserialize: (bytes: Buffer) => toJson(output, fromBinary(output, bytes)) as Json,
  };
}

/** All files that the server's services are described in. */
async function readContract(client: Client): Promise<FileRegistry> {
  const call = client.makeBidiStreamRequest(
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    (request: ServerReflectionRequest) => Buffer.from(toBinary(ServerReflectionRequestSchema, request)),
    (bytes: Buffer) => fromBinary(ServerReflectionResponseSchema, bytes),
    new Metadata(),
  );
  const ask = async (messageRequest: ServerReflectionRequest["messageRequest"]) => {
    call.write(create(ServerReflectionRequestSchema, { messageRequest }));
    const [answer] = (await once(call, "data")) as [ServerReflectionResponse];
    return answer.messageResponse;
  };
  const listed = await ask({ case: "listServices", value: "" });
  if (listed.case !== "listServicesResponse") throw new Error(`Services: ${listed.case}`);
  const files = new Map<string, FileDescriptorProto>();
  const add = async (question: ServerReflectionRequest["messageRequest"]): Promise<void> => {
    const described = await ask(question);
    if (described.case !== "fileDescriptorResponse") throw new Error(`${question.value}: ${described.case}`);
    for (const bytes of described.value.fileDescriptorProto) {
      const file = fromBinary(FileDescriptorProtoSchema, bytes);
      // The registry wants what a file needs before the file.
      for (const needed of file.dependency) if (!files.has(needed)) await add({ case: "fileByFilename", value: needed });
      files.set(file.name, file);
    }
  };
  for (const { name } of listed.value.service) await add({ case: "fileContainingSymbol", value: name });
  call.end();
  return createFileRegistry(create(FileDescriptorSetSchema, { file: [...files.values()] }));
}
