// The package as `npm pack` makes it, installed in a project of its own.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { SITE_URL } from "./support/client.js";

const PROGRAM = `
  import { Client, unwrap, type Resolution } from "turbulence-client";
  const site = new Client({ url: process.argv[2] ?? "" });
  const found: Resolution = unwrap(await site.resolve("/about"));
  // @ts-expect-error: only some kinds have content.
  found.content;
  console.log(found.kind === "item" ? found.content.title : found.kind);
`;

test("the package can be installed, compiled against and run", async () => {
  const archive = (await readdir("build")).find((name) => name.endsWith(".tgz"));
  assert.ok(archive);
  const folder = await mkdtemp(join(tmpdir(), "turbulence-package-"));
  const run = (command: string, options: string[]) =>
    execFileSync(command, options, { cwd: folder, encoding: "utf8" });
  await writeFile(join(folder, "package.json"), '{"type": "module", "private": true}');
  // Nothing is fetched: it has no dependencies.
  run("npm", ["install", "--offline", "--no-audit", "--no-fund", resolve("build", archive)]);
  const files = await readdir(join(folder, "node_modules/turbulence-client"), { recursive: true });
  for (const name of ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "dist/index.js", "dist/generated/api.d.ts"]) {
    assert.ok(files.includes(name), name);
  }
  const isExpected = (name: string) => /^(README\.md|LICENSE-\w+|package\.json|dist(\/.*)?)$/.test(name);
  assert.deepEqual(files.filter((name) => !isExpected(name)), []);

  await writeFile(join(folder, "program.ts"), PROGRAM);
  const tsc = resolve("../../node_modules/.bin/tsc");
  const types = ["--types", "node", "--typeRoots", resolve("../../node_modules/@types")];
  const options = ["--strict", "--target", "es2022", "--lib", "es2022,dom", ...types, "program.ts"];
  // Its types are checked as well, as a bundler and as Node.js resolve them.
  run(tsc, ["--module", "esnext", "--moduleResolution", "bundler", "--noEmit", ...options]);
  run(tsc, ["--module", "nodenext", ...options]);
  assert.equal(run(process.execPath, ["program.js", SITE_URL]), "About\n");
  await rm(folder, { recursive: true });
});
