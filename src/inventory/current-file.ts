/** A row of the current state, as the reads return it. */

export interface CurrentFile {
  file_current_id: bigint;
  dir_path: string;
  name: string;
  file_extension: string;
  /** The values are null for a file that only an audit event knows. */
  size_bytes: bigint | null;
  allocated_bytes: bigint | null;
  atime_unix: bigint | null;
  mtime_unix: bigint | null;
  ctime_unix: bigint | null;
  link_count: number | null;
  owner: string | null;
  /** The unsigned number's 64 bits, as a signed number. */
  frn: bigint | null;
  /** SHA-256. */
  file_hash: Buffer | null;
  last_accessed_source: string;
  missing_since_scan_id: bigint | null;
  metadata_complete: boolean;
}
