/**
 * PushScan and PushAudit as the server reads them: the same services and the same bytes, with each chunk left as bytes for
 * ingest/chunk-reader.ts, and each batch until it is the tenant's turn (audit.ts). Only the binary encoding can be read so;
 * the two take no JSON.
 */
import { create, createFileRegistry, type DescMessage, type DescMethod, type DescService, type Message } from "@bufbuild/protobuf";
import type { GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import { FileDescriptorProtoSchema, FieldDescriptorProto_Label as Label, FieldDescriptorProto_Type as Type } from "@bufbuild/protobuf/wkt";
import {
  AuditService,
  file_frostline_v1_audit as auditContract,
  type PushAuditRequest_Open,
  type PushAuditResponseSchema,
} from "../gen/frostline/v1/audit_pb.js";
import {
  type PushScanRequest_Open,
  type PushScanResponseSchema,
  ScanService,
  file_frostline_v1_scan as scanContract,
} from "../gen/frostline/v1/scan_pb.js";

/** A PushScanRequest whose chunk is still bytes. */
export type PushScanView = Message<"frostline.v1.PushScanView"> & {
  message: { case: "open"; value: PushScanRequest_Open } | { case: "chunk"; value: Uint8Array } | { case: undefined; value?: undefined };
};

/** A PushAuditRequest whose batch is still bytes. */
export type PushAuditView = Message<"frostline.v1.PushAuditView"> & {
  message: { case: "open"; value: PushAuditRequest_Open } | { case: "batch"; value: Uint8Array } | { case: undefined; value?: undefined };
};

/** Whether the messages of a method are read as bytes, and so never as JSON. */
export function takesBinaryOnly({ parent, name }: DescMethod): boolean {
  return [ScanService.method.pushScan, AuditService.method.pushAudit].some(
    (push) => push.name === name && push.parent.typeName === parent.typeName,
  );
}

const contracts = [scanContract, auditContract];

/** A message of `open`, as in the contract, or bytes. */
const view = (name: string, open: string, bytes: string) => ({
  name,
  oneofDecl: [{ name: "message" }],
  field: [
    { name: "open", number: 1, label: Label.OPTIONAL, type: Type.MESSAGE, typeName: open, oneofIndex: 0 },
    { name: bytes, number: 2, label: Label.OPTIONAL, type: Type.BYTES, oneofIndex: 0 },
  ],
});

const file = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "frostline/v1/push_view.proto",
    package: "frostline.v1",
    syntax: "proto3",
    dependency: contracts.map(({ proto }) => proto.name),
    messageType: [
      view("PushScanView", ".frostline.v1.PushScanRequest.Open", "chunk"),
      view("PushAuditView", ".frostline.v1.PushAuditRequest.Open", "batch"),
    ],
  }),
  (name) => contracts.find(({ proto }) => proto.name === name),
);

export const PushScanViewSchema = file.getMessage("frostline.v1.PushScanView") as GenMessage<PushScanView>;
export const PushAuditViewSchema = file.getMessage("frostline.v1.PushAuditView") as GenMessage<PushAuditView>;

type Methods<Service> = Service extends GenService<infer Shape> ? Shape : never;
type ScanMethods = Omit<Methods<typeof ScanService>, "pushScan"> & {
  pushScan: { methodKind: "client_streaming"; input: typeof PushScanViewSchema; output: typeof PushScanResponseSchema };
};
type AuditMethods = Omit<Methods<typeof AuditService>, "pushAudit"> & {
  pushAudit: { methodKind: "client_streaming"; input: typeof PushAuditViewSchema; output: typeof PushAuditResponseSchema };
};

/** ScanService with PushScan's input as the view. */
export const ScanServiceView = withInput(ScanService, "pushScan", PushScanViewSchema) as GenService<ScanMethods>;
/** AuditService with PushAudit's input as the view. */
export const AuditServiceView = withInput(AuditService, "pushAudit", PushAuditViewSchema) as GenService<AuditMethods>;

function withInput(service: DescService, localName: string, input: DescMessage): unknown {
  const own = service.method[localName] as DescMethod;
  const method = { ...own, input };
  return {
    ...service,
    method: { ...service.method, [localName]: method },
    methods: service.methods.map((other) => (other === own ? method : other)),
  };
}
