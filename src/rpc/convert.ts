/** Small conversions that several services need. */
import { type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { earliestUnix, latestUnix } from "../ingest/limits.js";
import { invalidField } from "../tenancy/validate.js";

/** For spreading into a message: the field is left out when there is no date. */
export function timestampField<Name extends string>(name: Name, date: Date | null): Partial<Record<Name, Timestamp>> {
  return date === null ? {} : ({ [name]: timestampFromDate(date) } as Record<Name, Timestamp>);
}

/** Undefined stays undefined. Throws INVALID_ARGUMENT for a time outside the years 0001 to 9999. */
export function optionalDate(field: string, timestamp: Timestamp | undefined): Date | undefined {
  if (timestamp !== undefined && (timestamp.seconds < earliestUnix || timestamp.seconds > latestUnix))
    throw invalidField(field, "is outside the years 0001 to 9999.");
  return timestamp && timestampDate(timestamp);
}
