/** Which share of which tenant. */
export interface ShareKey {
  tenantId: string;
  shareId: bigint;
}
