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
