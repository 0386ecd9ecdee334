// Starts a site with demo content and runs the compiled tests against it: `npm test`. TURBULENCE is the
// path of the program.

import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { freePort, startSite } from "./support/site.js";

const origin = `http://127.0.0.1:${await freePort()}`;
const site = await startSite({
  // Scripts of pages at this address may call.
  TURBULENCE__CORS__ALLOWED_ORIGINS: origin,
  // Messages are sent to this machine.
  TURBULENCE__WEBHOOKS__ALLOW_PRIVATE_NETWORKS: "true",
  TURBULENCE__SITE__URL: "https://www.example.com",
});
try {
  const env = { ...process.env, SITE_URL: site.url, SITE_TOKEN: site.token, PAGE_ORIGIN: origin };
  const folder = new URL(".", import.meta.url);
  const files = (await readdir(folder)).filter((name) => name.endsWith(process.argv[2] ?? ".test.js"));
  const paths = files.map((name) => new URL(name, folder).pathname);
  // One at a time: they share the site.
  const options = ["--test", "--test-reporter=spec", "--test-concurrency=1", "--test-timeout=120000", ...paths];
  const tests = spawn(process.execPath, options, { env, stdio: "inherit" });
  process.exitCode = await new Promise((exit) => tests.once("exit", (code) => exit(code ?? 1)));
} finally {
  await site.stop();
}
