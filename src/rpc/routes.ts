/** Every service of the server. */
import type { ConnectRouter } from "@connectrpc/connect";
import { FileService } from "../gen/frostline/v1/file_pb.js";
import { ScanService } from "../gen/frostline/v1/scan_pb.js";
import { ShareService } from "../gen/frostline/v1/share_pb.js";
import { TenantService } from "../gen/frostline/v1/tenant_pb.js";
import type { ServerDeps } from "./context.js";
import { fileService } from "./file.js";
import { ScanServiceView } from "./push-view.js";
import { scanService } from "./scan.js";
import { shareService } from "./share.js";
import { tenantService } from "./tenant.js";

export const services = [TenantService, ShareService, ScanService, FileService] as const;

export function registerServices(router: ConnectRouter, deps: ServerDeps): void {
  router.service(TenantService, tenantService(deps));
  router.service(ShareService, shareService(deps));
  router.service(ScanServiceView, scanService(deps));
  router.service(FileService, fileService(deps));
}
