/** Small conversions that several services need. */
import { type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";

/** For spreading into a message: the field is left out when there is no date. */
export function timestampField<Name extends string>(name: Name, date: Date | null): Partial<Record<Name, Timestamp>> {
  return date === null ? {} : ({ [name]: timestampFromDate(date) } as Record<Name, Timestamp>);
}

/** Undefined stays undefined. */
export function optionalDate(timestamp: Timestamp | undefined): Date | undefined {
  return timestamp && timestampDate(timestamp);
}
