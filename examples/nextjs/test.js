// Publishes a story in a running site of Turbulence, and waits until the page that Next.js has kept
// shows it.
//
//     npm run build && npm test -- PROGRAM
//
// PROGRAM is the path of `turbulence`. TURBULENCE_LIMIT_MS is the longest time for which the page may
// be an old one; the default is generous, since the machine may be busy.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const PROGRAM = resolve(process.argv[2] ?? "../../target/debug/turbulence");
const LIMIT_MS = Number(process.env.TURBULENCE_LIMIT_MS ?? 10_000);
const START_MS = 120_000;
const READY = "Ctrl-C stops everything.";

const token = randomBytes(16).toString("hex");
const secret = `whsec_${randomBytes(32).toString("base64")}`;
const started = [];

/** Returns a port that is free at the moment. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Starts a program. It is stopped at the end. */
function start(command, options, env) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("TURBULENCE__"));
  const child = spawn(command, options, {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  started.push(child);
  return child;
}

/** Waits until a condition has a result. */
async function eventually(what, condition, limit = START_MS) {
  const began = performance.now();
  for (;;) {
    const result = await condition();
    if (result) return result;
    assert.ok(performance.now() - began < limit, `this has not become true in time: ${what}`);
    await sleep(10);
  }
}

/** Sends a request to the gateway. */
async function send(address, method, path, body) {
  const answer = await fetch(address + path, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}

/** Waits until a page contains a text, and returns the time that it took. */
async function shown(page, text, limit) {
  const began = performance.now();
  const contains = async () => (await (await fetch(page)).text()).includes(text);
  await eventually(`${page} shows ${text}`, contains, limit);
  return Math.round(performance.now() - began);
}

/** Opens a preview link of a draft, as a browser without an account does. */
async function previews(turbulence, frontend, item, title) {
  const { token } = await send(turbulence, "POST", "/preview", item);
  const opened = await fetch(`${frontend}/api/preview?token=${token}`, { redirect: "manual" });
  assert.equal(opened.status, 307);
  assert.equal(new URL(opened.headers.get("location"), frontend).pathname, "/draft");
  const cookie = opened.headers.getSetCookie().map((cookie) => cookie.split(";")[0]).join("; ");
  const shown = await fetch(`${frontend}/draft`, { headers: { cookie } });
  assert.equal(shown.status, 200);
  assert.ok((await shown.text()).includes(title));
  // It is shown neither without the link nor with another one.
  assert.equal((await fetch(`${frontend}/draft`)).status, 404);
  const forged = `${frontend}/api/preview?token=x${token}`;
  assert.equal((await fetch(forged, { redirect: "manual" })).status, 404);
}

async function main(folder) {
  const site = start(PROGRAM, ["up", "--demo", "--port", "0", "--data-dir", folder], {
    TURBULENCE__AUTH__STATIC_TOKEN: token,
    // Next.js runs on this machine.
    TURBULENCE__WEBHOOKS__ALLOW_PRIVATE_NETWORKS: "true",
    RUST_LOG: "warn",
  });
  let output = "";
  site.stdout.on("data", (data) => (output += data));
  await eventually("Turbulence is ready", () => {
    assert.equal(site.exitCode, null, output);
    return output.includes(READY);
  });
  const [, turbulence] = output.match(/Address\s+(http:[^\s,]+)/);

  const port = await freePort();
  const frontend = `http://127.0.0.1:${port}`;
  const next = join("node_modules", "next", "dist", "bin", "next");
  const options = [next, "start", "--hostname", "127.0.0.1", "--port", String(port)];
  start(process.execPath, options, {
    TURBULENCE_URL: turbulence,
    WEBHOOK_SECRET: secret,
    NEXT_TELEMETRY_DISABLED: "1",
  }).stdout.resume();
  await eventually("Next.js is ready", () => fetch(`${frontend}/blog`).then(() => true, () => false));

  await send(turbulence, "POST", "/webhooks", { url: `${frontend}/api/revalidate`, secret });

  const [story] = (await send(turbulence, "GET", "/stories?limit=1")).items;
  const page = `${frontend}/blog/${story.slug}`;
  await shown(page, story.title);
  await shown(`${frontend}/blog`, story.title);

  // The pages are kept: without a webhook they would not change.
  const forged = await fetch(`${frontend}/api/revalidate`, { method: "POST", body: "{}" });
  assert.equal(forged.status, 401);

  await send(turbulence, "PATCH", `/stories/${story.id}`, { title: "Changed in the editor" });
  const changed = await shown(page, "Changed in the editor", LIMIT_MS);

  const draft = { title: "Fresh from the press", content: "<p>New.</p>", is_published: false };
  const { id, slug } = await send(turbulence, "POST", "/stories", draft);
  assert.equal((await fetch(`${frontend}/blog/${slug}`)).status, 404);
  await previews(turbulence, frontend, { content_type: "story", id }, draft.title);
  await send(turbulence, "PATCH", `/stories/${id}`, { is_published: true });
  const published = await shown(`${frontend}/blog/${slug}`, draft.title, LIMIT_MS);
  await shown(`${frontend}/blog`, draft.title, LIMIT_MS);

  await send(turbulence, "PATCH", `/stories/${id}`, { is_published: false });
  const is404 = async () => (await fetch(`${frontend}/blog/${slug}`)).status === 404;
  await eventually("the page is removed", is404, LIMIT_MS);
  console.log(`The page showed a change after ${changed} ms and a publication after ${published} ms.`);
}

const folder = await mkdtemp(join(tmpdir(), "turbulence-nextjs-"));
try {
  await main(folder);
} finally {
  for (const child of started.reverse()) {
    if (child.exitCode !== null) continue;
    const ended = new Promise((exit) => child.once("exit", exit));
    child.kill("SIGTERM");
    await ended;
  }
  await rm(folder, { recursive: true, force: true });
}
