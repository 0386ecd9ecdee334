import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { ApiError, type ChangesOptions, unwrap } from "turbulence-client";
import { SITE_URL, editor, sectionWith, site } from "./support/client.js";
import { startFront } from "./support/front.js";
import { eventually } from "./support/site.js";

let front: Awaited<ReturnType<typeof startFront>>;
before(async () => void (front = await startFront(SITE_URL)));
after(() => front.stop());
beforeEach(() => {
  front.fate = () => "pass";
  front.requests.length = 0;
});

/** The listeners of the present test. */
const controllers: AbortController[] = [];
afterEach(() => controllers.splice(0).forEach((controller) => controller.abort()));

/** Returns the cursor of now. */
const now = async () => unwrap(await site.get("/changes")).cursor;

const rename = async (id: string, title: string) =>
  void unwrap(await editor.patch("/stories/{id}", { path: { id }, body: { title } }));

/** Listens behind the front for updates of stories, until the end of the test. */
async function listen(options: ChangesOptions = {}) {
  const controller = new AbortController();
  controllers.push(controller);
  const heard: (string | null)[] = [];
  const reconnects: Error[] = [];
  const changes = site.with({ url: front.url }).changes({
    cursor: await now(),
    onReconnect: (error) => reconnects.push(error),
    ...options,
    signal: controller.signal,
  });
  const ended = (async () => {
    // Creations before the test may still be told.
    for await (const { event, id } of changes) if (event === "updated") heard.push(id);
  })();
  return { heard, reconnects, ended, controller };
}

const streams = () => front.requests.filter(({ headers }) => headers.accept === "text/event-stream");

test("changes are heard in their order, of the kinds that are asked for", async () => {
  const { section, stories } = await sectionWith(2);
  const ids = stories.map(({ id }) => id);
  const all = await listen();
  const some = await listen({ kinds: ["stories"] });
  for (const id of ids) await rename(id, "Another title");
  const body = { sort_by: "title" } as const;
  unwrap(await editor.patch("/sections/{id}", { path: { id: section.id }, body }));
  await rename(ids[0]!, "A third one");
  await eventually("all changes", () => all.heard.length >= 4 && some.heard.length >= 3);
  assert.deepEqual(some.heard, [...ids, ids[0]]);
  assert.ok(all.heard.includes(section.id));
  some.controller.abort();
  await some.ended;
});

test("nothing is missed while the connection is cut", async () => {
  const { stories } = await sectionWith(3);
  const ids = stories.map(({ id }) => id);
  const listener = await listen({ kinds: ["stories"] });
  await rename(ids[0]!, "Before");
  await eventually("the first change", () => listener.heard.length === 1);
  front.fate = () => "cut";
  front.cutAll();
  await rename(ids[1]!, "While it is cut");
  await eventually("a failed attempt", () => listener.reconnects.length >= 2);
  front.fate = () => "pass";
  await rename(ids[2]!, "After");
  await eventually("all changes", () => listener.heard.length >= 3);
  assert.deepEqual(listener.heard, ids);
});

test("a connection on which nothing arrives is replaced", async () => {
  const { stories } = await sectionWith(1);
  front.fate = () => (streams().length > 1 ? "pass" : "hang");
  const listener = await listen({ idleMs: 200 });
  await eventually("another attempt", () => streams().length > 1);
  assert.equal((listener.reconnects[0] as { code?: string }).code, "timed_out");
  // A connection that has been used is watched as well: the gateway sends something every 10 s.
  front.requests.length = 0;
  const second = await listen({ idleMs: 1_000 });
  await rename(stories[0]!.id, "Heard");
  await eventually("the change", () => second.heard.length === 1);
  await eventually("a third connection", () => streams().length >= 2);
});

test("a busy gateway is asked again, after the pause that it names", async () => {
  const problem = { type: "t", title: "t", status: 503, detail: "d", code: "overloaded" };
  const headers = { "Retry-After": "1", "Content-Type": "application/json" };
  const busy = { status: 503, headers, body: JSON.stringify(problem) };
  front.fate = () => (streams().length > 1 ? "pass" : busy);
  const began = performance.now();
  const listener = await listen();
  await eventually("another attempt", () => streams().length > 1);
  assert.ok(performance.now() - began >= 1_000);
  assert.ok(listener.reconnects[0] instanceof ApiError);
});

test("a wrong cursor is an error", async () => {
  await assert.rejects(site.changes({ cursor: "yesterday" }).next(), (error) => {
    assert.ok(error instanceof ApiError);
    assert.equal(error.code, "validation_failed");
    return true;
  });
});

test("leaving the loop closes the connection", async () => {
  const { stories } = await sectionWith(1);
  const changes = site.with({ url: front.url }).changes({ cursor: await now() });
  await rename(stories[0]!.id, "Heard");
  for await (const { id } of changes) if (id === stories[0]!.id) break;
  // It would connect again if it still listened.
  front.cutAll();
  assert.equal(streams().length, 1);
  const aborted = site.changes({ signal: AbortSignal.abort() });
  assert.deepEqual(await aborted.next(), { done: true, value: undefined });
});

test("changes can be polled", async () => {
  const { stories } = await sectionWith(1);
  const cursor = await now();
  await rename(stories[0]!.id, "Polled");
  const query = { cursor, kind: ["stories", "sections"] } as const;
  const poll = async () => unwrap(await site.get("/changes", { query })).changes;
  await eventually("the change", async () => (await poll()).some(({ id }) => id === stories[0]!.id));
});
