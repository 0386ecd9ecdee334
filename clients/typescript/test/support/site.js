// A running site of Turbulence for tests, and programs beside it.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Generous, since the machine may be busy. */
const START_MS = 120_000;
/** The last line that `turbulence up` prints when the site is ready. */
const READY = "Ctrl-C stops everything.";

/**
 * Waits until a condition has a result, and returns it.
 *
 * @template T
 * @param {string} what
 * @param {() => T | Promise<T>} condition
 * @param {number} [limit]
 * @returns {Promise<NonNullable<T>>}
 */
export async function eventually(what, condition, limit = START_MS) {
  const began = performance.now();
  for (;;) {
    const result = await condition();
    if (result) return result;
    assert.ok(performance.now() - began < limit, `this has not become true in time: ${what}`);
    await sleep(10);
  }
}

/** Returns a port that is free at the moment. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}

/**
 * Starts a program without the settings of the caller, which may name a database that must not be
 * changed. The returned function stops it.
 *
 * @param {string} command
 * @param {string[]} options
 * @param {Record<string, string>} env
 * @param {{ cwd?: string, onOutput?: (text: string) => void }} [more]
 */
export function start(command, options, env, { cwd, onOutput } = {}) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("TURBULENCE__"));
  const child = spawn(command, options, {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ["ignore", "pipe", "inherit"],
    ...(cwd ? { cwd } : {}),
  });
  child.stdout.on("data", (data) => onOutput?.(String(data)));
  const stop = async () => {
    if (child.exitCode !== null) return;
    const ended = new Promise((exit) => child.once("exit", exit));
    child.kill("SIGTERM");
    await ended;
  };
  return { child, stop };
}

/**
 * Starts a site with demo content. TURBULENCE is the path of the program. The working folder is that of
 * the package, in which npm runs scripts.
 *
 * @param {Record<string, string>} [settings]
 */
export async function startSite(settings = {}) {
  const program = resolve(process.env["TURBULENCE"] ?? "../../target/debug/turbulence");
  const folder = await mkdtemp(join(tmpdir(), "turbulence-"));
  const token = randomBytes(16).toString("hex");
  let output = "";
  const { child, stop } = start(
    program,
    ["up", "--demo", "--port", "0", "--data-dir", folder],
    { TURBULENCE__AUTH__STATIC_TOKEN: token, RUST_LOG: "error", ...settings },
    { onOutput: (text) => (output += text) },
  );
  const url = await eventually("Turbulence is ready", () => {
    assert.equal(child.exitCode, null, output);
    return output.includes(READY) ? output.match(/Address\s+(http:[^\s,]+)/)?.[1] : undefined;
  });
  return {
    url,
    token,
    async stop() {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Returns the path of a Chromium, which is installed if there is none and that is permitted. */
export function chromium() {
  return execFileSync("../../.ci/chromium", { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
}
