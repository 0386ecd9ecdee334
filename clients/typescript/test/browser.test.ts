// The client in a browser, on a page of another origin than the gateway.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { type Browser, type Page, chromium } from "playwright-core";
import type * as Package from "turbulence-client";
import { SITE_URL, editor, sectionWith, token } from "./support/client.js";
import { film, picture } from "./support/files.js";
import { chromium as pathOfChromium } from "./support/site.js";

declare global {
  interface Window {
    package: typeof Package;
    editor: Package.Client;
  }
}

const ORIGIN = process.env["PAGE_ORIGIN"]!;
const PAGE = `<!doctype html><script type="module">window.package = await import("/index.js");</script>`;

// Serves the package, as a bundler would.
const server = createServer(async ({ url = "/" }, response) => {
  const isPage = url === "/";
  response.setHeader("Content-Type", isPage ? "text/html" : "text/javascript");
  response.end(isPage ? PAGE : await readFile(`dist${url}`).catch(() => ""));
});
let browser: Browser;
let page: Page;
const errors: string[] = [];

before(async () => {
  server.listen(Number(new URL(ORIGIN).port), "127.0.0.1");
  browser = await chromium.launch({ executablePath: pathOfChromium() });
  page = await browser.newPage();
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(ORIGIN);
  await page.waitForFunction(() => window.package !== undefined);
  await page.evaluate(
    ([url, token]) => void (window.editor = new window.package.Client({ url: url!, token: token! })),
    [SITE_URL, token],
  );
});

after(async () => {
  await browser?.close();
  server.close();
});

test("uploads tell their progress", async () => {
  const size = 8 * 1024 * 1024;
  const head = [...film(40)];
  const uploaded = await page.evaluate(
    async ({ head, size }) => {
      const told: number[] = [];
      const bytes = new Uint8Array(size);
      bytes.set(head);
      const result = await window.editor.upload([new File([bytes], "clip.mp4")], {
        onProgress: ({ sent, total }) => told.push(sent / total),
      });
      return { told, urls: result.ok ? result.data.urls : [result.error.message] };
    },
    { head, size },
  );
  assert.match(uploaded.urls[0]!, /\.mp4$/);
  assert.ok(uploaded.told.length >= 1);
  assert.equal(uploaded.told.at(-1), 1);
  assert.deepEqual(uploaded.told, uploaded.told.toSorted());
});

test("errors of uploads have their codes", async () => {
  const codes = await page.evaluate(async (picture) => {
    const files = [new Blob([Uint8Array.from(picture)])];
    const onProgress = () => {};
    const { editor } = window;
    const unreachable = editor.with({ url: "http://127.0.0.1:1" });
    const results = await Promise.all([
      editor.upload([new Blob(["no picture"])], { onProgress }),
      editor.with({ token: "wrong" }).upload(files, { onProgress }),
      editor.upload(files, { onProgress, signal: AbortSignal.abort() }),
      unreachable.upload(files, { onProgress }),
      unreachable.upload(files),
    ]);
    return results.map((result) => (result.ok ? "ok" : result.error.code));
  }, [...picture]);
  const expected = ["unsupported_media_type", "unauthorized", "aborted", "network_failed", "network_failed"];
  assert.deepEqual(codes, expected);
});

test("versions and changes cross origins", async () => {
  const { stories } = await sectionWith(1);
  const id = stories[0]!.id;
  const heard = await page.evaluate(async (id) => {
    const { editor } = window;
    const { unwrap } = window.package;
    const { cursor } = unwrap(await editor.get("/changes"));
    const edited = await editor.edit("/stories/{id}", { path: { id } }, ({ title }) => ({ title: `${title}!` }));
    for await (const change of editor.changes({ cursor })) {
      if (change.id === id && change.event === "updated") return unwrap(edited).title;
    }
    return "";
  }, id);
  assert.equal(heard, `${stories[0]!.title}!`);
  const now = await editor.get("/stories/{id}", { path: { id } });
  assert.equal(now.ok && now.data.title, heard);
  assert.deepEqual(errors, []);
});
