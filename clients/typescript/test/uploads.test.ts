import assert from "node:assert/strict";
import { openAsBlob } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type UploadProgress, unwrap } from "turbulence-client";
import { SITE_URL, editor, site } from "./support/client.js";
import { film, picture } from "./support/files.js";

test("pictures are uploaded, listed, described and deleted", async () => {
  const file = new File([picture], "dot.png");
  const { urls, dimensions, srcsets } = unwrap(await editor.upload([file, new Blob([picture])]));
  assert.equal(urls.length, 2);
  assert.deepEqual(dimensions[0], { width: 1, height: 1 });
  assert.equal(srcsets.length, 2);
  const bytes = await fetch(SITE_URL + urls[0]);
  assert.equal(bytes.headers.get("content-type"), "image/webp");
  const list = unwrap(await editor.list("/media", { query: { q: "dot.png" } }));
  assert.equal(list.items[0]?.url, urls[0]);
  const path = { id: list.items[0]!.id };
  const edited = await editor.edit("/media/{id}", { path }, ({ original_name }) => ({ alt: original_name ?? null }));
  assert.equal(unwrap(edited).alt, "dot.png");
  unwrap(await editor.delete("/media/{id}", { path }));
  assert.equal((await editor.get("/media/{id}", { path })).ok, false);
  const name = urls[1]!.replace("/uploads/", "");
  const blob = unwrap(await site.get("/uploads/{path}", { path: { path: name } }));
  assert.ok(blob.size > 0);
});

test("a large file is streamed from the disk, with its progress", async () => {
  const folder = await mkdtemp(join(tmpdir(), "turbulence-upload-"));
  const path = join(folder, "clip.mp4");
  const bytes = film(8 * 1024 * 1024);
  await writeFile(path, bytes);
  const told: UploadProgress[] = [];
  const uploaded = await editor.upload([await openAsBlob(path)], {
    onProgress: (progress) => told.push(progress),
  });
  await rm(folder, { recursive: true });
  assert.match(unwrap(uploaded).urls[0]!, /\.mp4$/);
  assert.ok(told.length > 2);
  assert.ok(told.every(({ sent, total }, n) => total === bytes.length && sent >= (told[n - 1]?.sent ?? 0)));
  assert.equal(told.at(-1)?.sent, bytes.length);
});

test("errors of uploads have their codes", async () => {
  const text = new Blob(["no picture"]);
  const wrong = await editor.upload([text]);
  assert.equal(!wrong.ok && wrong.error.code, "unsupported_media_type");
  const none = await editor.upload([]);
  assert.equal(!none.ok && none.error.code, "validation_failed");
  const stranger = await site.upload([new Blob([picture])], { onProgress: () => {} });
  assert.equal(!stranger.ok && stranger.error.code, "unauthorized");
});

test("an upload ends at the signal of the caller, or at its deadline", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await new Promise((ready) => silent.once("listening", ready));
  const { port } = silent.address() as { port: number };
  const client = editor.with({ url: `http://127.0.0.1:${port}` });
  const controller = new AbortController();
  const ended = client.upload([new Blob([picture])], { signal: controller.signal });
  controller.abort();
  const aborted = await ended;
  assert.equal(!aborted.ok && aborted.error.code, "aborted");
  const late = await client.upload([new Blob([picture])], { timeoutMs: 50, onProgress: () => {} });
  assert.equal(!late.ok && late.error.code, "timed_out");
  silent.close();
});
