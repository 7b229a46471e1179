/** A file as a scan saw it. */
import type { SourceType } from "../paths.js";

export interface FileVersion {
  file_current_id: bigint;
  dir_path: string;
  name: string;
  src_type: SourceType;
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
}
