// `npm ci` builds dist/. Without the development packages (`npm ci --omit=dev`) there is no
// compiler, and whoever installs so brings a dist/ that was built elsewhere.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
if (existsSync(`${root}/node_modules/typescript`)) {
  const { status } = spawnSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "inherit", shell: process.platform === "win32" });
  process.exitCode = status ?? 1;
} else if (!existsSync(`${root}/dist/main.js`)) {
  console.warn(
    "Not built: the development packages are left out, and there is no dist/. Bring the dist/ of a full checkout after `npm ci` there.",
  );
}
