/**
 * PushScan as the server reads it: the same service and the same bytes, with each chunk left as
 * bytes for ingest/chunk-reader.ts. Only the binary encoding can be read so; PushScan takes no JSON.
 */
import { create, createFileRegistry, type Message } from "@bufbuild/protobuf";
import type { GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import { FileDescriptorProtoSchema, FieldDescriptorProto_Label as Label, FieldDescriptorProto_Type as Type } from "@bufbuild/protobuf/wkt";
import {
  file_frostline_v1_scan as contract,
  type PushScanRequest_Open,
  type PushScanResponseSchema,
  ScanService,
} from "../gen/frostline/v1/scan_pb.js";

/** A PushScanRequest whose chunk is still bytes. */
export type PushScanView = Message<"frostline.v1.PushScanView"> & {
  message: { case: "open"; value: PushScanRequest_Open } | { case: "chunk"; value: Uint8Array } | { case: undefined; value?: undefined };
};

const file = create(FileDescriptorProtoSchema, {
  name: "frostline/v1/push_view.proto",
  package: "frostline.v1",
  syntax: "proto3",
  dependency: [contract.proto.name],
  messageType: [
    {
      name: "PushScanView",
      oneofDecl: [{ name: "message" }],
      field: [
        {
          name: "open",
          number: 1,
          label: Label.OPTIONAL,
          type: Type.MESSAGE,
          typeName: ".frostline.v1.PushScanRequest.Open",
          oneofIndex: 0,
        },
        { name: "chunk", number: 2, label: Label.OPTIONAL, type: Type.BYTES, oneofIndex: 0 },
      ],
    },
  ],
});

export const PushScanViewSchema = createFileRegistry(file, (name) => (name === contract.proto.name ? contract : undefined)).getMessage(
  "frostline.v1.PushScanView",
) as GenMessage<PushScanView>;

type Methods = typeof ScanService extends GenService<infer Shape> ? Shape : never;
type ViewMethods = Omit<Methods, "pushScan"> & {
  pushScan: { methodKind: "client_streaming"; input: typeof PushScanViewSchema; output: typeof PushScanResponseSchema };
};

const pushScan = { ...ScanService.method.pushScan, input: PushScanViewSchema };

/** ScanService with PushScan's input as the view. */
export const ScanServiceView = {
  ...ScanService,
  method: { ...ScanService.method, pushScan },
  methods: ScanService.methods.map((method) => (method.localName === pushScan.localName ? pushScan : method)),
} as unknown as GenService<ViewMethods>;
