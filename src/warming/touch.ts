/** An access to a tiered file, as audit events tell of it. */
export interface Touch {
  tierId: bigint;
  /** By the clock of the node that wrote it. */
  timeMicros: bigint;
  /** Empty when the trail does not say. */
  user: string;
  host: string;
  eventId: string;
}

/** The access to `tierId` that an audit event is. */
export function touchOf(tierId: bigint, { timeMicros, user, host, eventId }: Omit<Touch, "tierId">): Touch {
  return { tierId, timeMicros, user, host, eventId };
}
