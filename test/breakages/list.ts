import type { Breakage } from "./breakage.js";
import { ofAudit } from "./of-audit.js";
import { ofBounds } from "./of-bounds.js";
import { ofScans } from "./of-scans.js";
import { ofTenants } from "./of-tenants.js";
import { ofTiering } from "./of-tiering.js";

export const breakages: Breakage[] = [...ofScans, ...ofAudit, ...ofTenants, ...ofTiering, ...ofBounds];
