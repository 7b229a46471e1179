/** The reader against the generated decoder, on the same bytes. */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DomainError } from "../../errors.js";
import { AuditAction, type AuditBatch, AuditBatchSchema } from "../../gen/frostline/v1/audit_pb.js";
import { countEvents, readBatch } from "./batch-reader.js";
import type { Batch } from "./events.js";

const text = fc.string({ unit: "binary", maxLength: 20 });
/** So few that some come twice in a row. */
const name = fc.constantFrom("", "ann", "bob", "Ærø", "\uFFFD");
const event = fc.record(
  {
    timeMicros: fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n }),
    action: fc.integer({ min: 0, max: 12 }),
    path: text,
    targetPath: text,
    user: name,
    host: name,
    node: name,
    actionName: name,
    refusedReason: text,
  },
  { requiredKeys: [] },
);
const batch = fc
  .record({
    auditFilePath: text.map((path) => `a${path.replaceAll("\0", "")}`),
    headFingerprint: fc.uint8Array({ maxLength: 40 }),
    startOffset: fc.bigInt({ min: 0n, max: 2n ** 62n }),
    restarted: fc.boolean(),
    events: fc.array(event, { maxLength: 8 }),
  })
  .map((made) => ({
    ...made,
    endOffset: made.startOffset + BigInt(made.events.length) * 1000n,
    events: made.events.map((own, at) => ({ ...own, offset: made.startOffset + BigInt(at) * 1000n })),
  }));

const encode = (message: MessageInitShape<typeof AuditBatchSchema>) => toBinary(AuditBatchSchema, create(AuditBatchSchema, message));

function expected({ $typeName: _, events, headFingerprint, ...rest }: AuditBatch): Omit<Batch, "headFingerprint"> {
  return {
    ...rest,
    events: events.map(({ $typeName: __, action, ...own }) => ({
      ...own,
      eventId: "",
      action: action === AuditAction.UNSPECIFIED ? "OTHER" : ((AuditAction[action] as never) ?? "OTHER"),
    })),
  };
}

test("what the generated encoder writes is read as it was", () => {
  fc.assert(
    fc.property(batch, (made) => {
      const message = create(AuditBatchSchema, made);
      const bytes = toBinary(AuditBatchSchema, message);
      const { headFingerprint, ...rest } = readBatch(bytes);
      expect(rest).toEqual(expected(message));
      expect([...headFingerprint]).toEqual([...made.headFingerprint]);
      expect(countEvents(bytes)).toBe(made.events.length);
    }),
  );
});

test("bytes cut off anywhere, or any others, are read or refused as the client's fault", () => {
  const refusedOnly = (bytes: Uint8Array) => {
    for (const read of [readBatch, countEvents]) {
      try {
        read(bytes);
      } catch (error) {
        expect((error as DomainError).code, String(error)).toBe("INVALID_ARGUMENT");
      }
    }
  };
  fc.assert(
    fc.property(batch, fc.nat(), (made, at) => {
      const bytes = encode(made);
      refusedOnly(bytes.subarray(0, at % (bytes.length + 1)));
    }),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), refusedOnly));
});

test("fields of a later contract are passed over, and of one that comes twice the last counts", () => {
  const event = Buffer.from("08012a04757365720a", "hex").subarray(0, 2);
  const bytes = Buffer.concat([
    Buffer.from([0x0a, 1, 0x62]),
    encode({ auditFilePath: "a", endOffset: 2n }),
    // Field 15 as text, field 16 as fixed64, an event with a field 20 as fixed32.
    Buffer.from([0x7a, 2, 0x68, 0x69, 0x81, 0x01, 1, 2, 3, 4, 5, 6, 7, 8]),
    Buffer.from([0x2a, event.length + 6, ...event, 0xa5, 0x01, 1, 2, 3, 4]),
  ]);
  expect(readBatch(bytes)).toMatchObject({ auditFilePath: "a", events: [{ offset: 1n, action: "OTHER" }] });
});

test.each([
  ["a path that is no UTF-8", Buffer.from([0x0a, 2, 0xc3, 0x28]), "MALFORMED_MESSAGE"],
  ["a path in overlong UTF-8", Buffer.from([0x0a, 2, 0xc0, 0xaf]), "MALFORMED_MESSAGE"],
  ["no path", encode({ endOffset: 1n }), "INVALID_FIELD"],
  ["a path with NUL", encode({ auditFilePath: "a\0" }), "INVALID_FIELD"],
  ["a path of 2,001 bytes", encode({ auditFilePath: "a".repeat(2001) }), "INVALID_FIELD"],
  ["an end before the start", encode({ auditFilePath: "a", startOffset: 2n, endOffset: 1n }), "INVALID_FIELD"],
  ["an event beyond the end", encode({ auditFilePath: "a", endOffset: 1n, events: [{ offset: 1n }] }), "INVALID_FIELD"],
  ["two events of one place", encode({ auditFilePath: "a", endOffset: 9n, events: [{ offset: 1n }, { offset: 1n }] }), "INVALID_FIELD"],
])("%s is refused", (_, bytes, reason) => {
  let refused: unknown;
  try {
    readBatch(bytes);
  } catch (error) {
    refused = error;
  }
  expect(refused).toBeInstanceOf(DomainError);
  expect(refused).toMatchObject({ code: "INVALID_ARGUMENT", reason });
});

test("a time out of range makes its event a refused one; names are cut to what is stored", () => {
  const far = {
    auditFilePath: "a",
    endOffset: 9n,
    events: [{ offset: 1n, timeMicros: 2n ** 62n, user: `${"u".repeat(1001)}`, host: "h\0" }],
  };
  expect(readBatch(encode(far)).events).toMatchObject([
    { refusedReason: "the time is outside the years 0001 to 9999", user: "u".repeat(1000), host: "h\uFFFD" },
  ]);
});
