// Copies the scripts that the console includes from npm into ../static/vendor, with their licences, and
// writes ../static/vendor.json. `npm ci` has compared the packages with the hashes of package-lock.json.

import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";

/** The packages: the files of each, and their names here. */
const PACKAGES = {
  "htmx.org": { "dist/htmx.min.js": "htmx.min.js", LICENSE: "htmx.LICENSE" },
};

const folder = new URL("../static/vendor/", import.meta.url);
const lock = JSON.parse(await readFile(new URL("package-lock.json", import.meta.url), "utf8"));
await rm(folder, { recursive: true, force: true });
await mkdir(folder);
const list = [];
for (const [name, files] of Object.entries(PACKAGES)) {
  const path = `node_modules/${name}`;
  const { version, license, integrity } = lock.packages[path];
  const hashes = {};
  for (const [source, target] of Object.entries(files)) {
    const body = await readFile(new URL(`${path}/${source}`, import.meta.url));
    await writeFile(new URL(target, folder), body);
    hashes[target] = createHash("sha256").update(body).digest("hex");
  }
  list.push({ name, version, license, integrity, sha256: hashes });
}
const text = `${JSON.stringify(list, null, 2)}\n`;
await writeFile(new URL("../static/vendor.json", import.meta.url), text);
