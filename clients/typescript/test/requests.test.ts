import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { after, before, test } from "node:test";
import { inspect } from "node:util";
import {
  AbortedError,
  ApiError,
  Client,
  NetworkError,
  TimeoutError,
  UnreadableAnswerError,
  isAbout,
  unwrap,
} from "turbulence-client";
import { SITE_URL, editor, sectionWith, site, token } from "./support/client.js";
import { startFront } from "./support/front.js";
import { freePort } from "./support/site.js";

let front: Awaited<ReturnType<typeof startFront>>;
before(async () => void (front = await startFront(SITE_URL)));
after(() => front.stop());

/** Starts a server with one answer for everything. */
async function answering(status: number, headers: Record<string, string>, body: string) {
  const server = createServer((_, response) => response.writeHead(status, headers).end(body));
  return listening(server);
}

async function listening(server: Server | ReturnType<typeof createTcpServer>) {
  server.listen(0, "127.0.0.1");
  await new Promise((ready) => server.once("listening", ready));
  const address = server.address() as { port: number };
  return { url: `http://127.0.0.1:${address.port}`, stop: () => server.close() };
}

test("a path of each kind of content is resolved", async () => {
  const found = [];
  for (const path of ["/blog", "/about", "/projects", "/contact"]) {
    const resolution = unwrap(await site.resolve(path, { query: { limit: 1 } }));
    assert.notEqual(resolution.kind, "moved");
    if (isAbout(resolution, "project") && resolution.kind === "section") {
      found.push(resolution.content.items[0]?.technologies instanceof Array);
    }
    if (isAbout(resolution, "page") && resolution.kind === "item") found.push(resolution.content.page_type);
    if (isAbout(resolution, "story")) found.push(resolution.section.slug);
  }
  assert.deepEqual(found, ["blog", "about", true, "contact"]);
});

test("a renamed section is moved", async () => {
  const { section, stories } = await sectionWith(1);
  const slug = `${section.slug}-renamed`;
  unwrap(await editor.patch("/sections/{id}", { path: { id: section.id }, body: { slug } }));
  const moved = unwrap(await site.resolve(`/${section.slug}/${stories[0]!.slug}`));
  assert.equal(moved.kind, "moved");
  assert.equal(moved.kind === "moved" && moved.moved_to, `/${slug}/${stories[0]!.slug}`);
});

test("slashes and dots in parameters lead to no other route", async () => {
  const { section } = await sectionWith(0);
  for (const slug of ["", ".", ".."]) {
    const looked = await site.get("/stories/slug/{slug}", { path: { slug } });
    assert.equal(!looked.ok && looked.error.code, "invalid_path", slug);
    const deleted = await editor.delete("/sections/{id}", { path: { id: slug } });
    assert.equal(!deleted.ok && deleted.error.code, "invalid_path", slug);
  }
  const climbing = await site.get("/stories/slug/{slug}", { path: { slug: "../../sections" } });
  assert.equal(!climbing.ok && climbing.error.code, "invalid_path");
  for (const slug of ["a/b", "a?b#c", "%2e%2e", "ä ö"]) {
    const looked = await site.get("/stories/slug/{slug}", { path: { slug } });
    assert.equal(!looked.ok && looked.error.code, "not_found", slug);
  }
  const feed = await site.get("/feeds/{path}", { path: { path: `${section.slug}.rss` } });
  assert.match(String(unwrap(feed)), /<rss/);
});

test("answers that are not JSON are texts or objects", async () => {
  assert.match(unwrap(await site.get("/robots.txt")), /^User-agent/m);
  assert.match(unwrap(await site.get("/sitemap.xml")), /<sitemapindex/);
  const feed = unwrap(await site.get("/feeds/{path}", { path: { path: "blog.json" } }));
  assert.ok(typeof feed === "object" && "items" in feed);
});

test("errors of the API have their code, and validation its fields", async () => {
  const unknown = await site.resolve("/no/such/path");
  assert.ok(!unknown.ok && unknown.error instanceof ApiError);
  assert.equal(unknown.error.code, "not_found");
  const invalid = await site.get("/stories", { query: { limit: 51 } });
  assert.ok(!invalid.ok && invalid.error.code === "validation_failed");
  const fields = invalid.error.problem.errors?.map(({ field }) => field);
  assert.deepEqual(fields, ["limit"]);
  const refused = await site.post("/stories", { body: { title: "x", content: "" } });
  assert.equal(!refused.ok && refused.error.code, "unauthorized");
  assert.throws(() => unwrap(refused), ApiError);
});

test("a refused connection is a network error", async () => {
  const unreachable = site.with({ url: `http://127.0.0.1:${await freePort()}`, retries: 0 });
  const result = await unreachable.get("/sections");
  assert.ok(!result.ok && result.error instanceof NetworkError);
  assert.ok(result.error.cause);
});

test("a truncated answer is a network error", async () => {
  const half = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"items"';
  const server = await listening(createTcpServer((socket) => socket.once("data", () => socket.end(half))));
  const result = await site.with({ url: server.url, retries: 0 }).get("/stories");
  server.stop();
  assert.ok(!result.ok && result.error instanceof NetworkError);
});

test("a silent server is a timeout, and the limit includes the retries", async () => {
  const silent = await listening(createTcpServer(() => {}));
  const result = await site.with({ url: silent.url, timeoutMs: 100 }).get("/sections");
  silent.stop();
  assert.ok(!result.ok && result.error instanceof TimeoutError);
  front.fate = () => ({ status: 503 });
  front.requests.length = 0;
  const never = site.with({ url: front.url, retries: 1_000, timeoutMs: 500 });
  assert.equal((await never.get("/sections")).ok, false);
  assert.ok(front.requests.length < 10);
});

test("a caller can end a request", async () => {
  const silent = await listening(createTcpServer(() => {}));
  const controller = new AbortController();
  const pending = site.with({ url: silent.url }).get("/sections", { signal: controller.signal });
  controller.abort();
  const result = await pending;
  silent.stop();
  assert.ok(!result.ok && result.error instanceof AbortedError);
  const late = await site.get("/sections", { signal: controller.signal });
  assert.equal(!late.ok && late.error.code, "aborted");
});

test("what is not an answer of the API is unreadable", async () => {
  const html = { "Content-Type": "text/html" };
  const json = { "Content-Type": "application/json" };
  for (const [status, headers, body] of [
    [200, html, "<h1>Sign in</h1>"],
    [404, html, "<h1>Not found</h1>"],
    [404, json, '{"message": "not of this API"}'],
    [404, json, "null"],
    [200, json, "{"],
    [200, {}, "[]"],
  ] as const) {
    const server = await answering(status, headers, body);
    const result = await site.with({ url: server.url }).get("/sections");
    server.stop();
    assert.ok(!result.ok && result.error instanceof UnreadableAnswerError, body);
    assert.equal(result.error.status, status);
    assert.equal(result.error.excerpt, body);
  }
});

test("reads are repeated after temporary failures, and writes are not", async () => {
  const failures = [{ status: 503, headers: { "Retry-After": "0" } }, "cut", { status: 502 }] as const;
  for (const failure of failures) {
    let left = 2;
    front.fate = () => (left-- > 0 ? failure : "pass");
    front.requests.length = 0;
    assert.ok((await site.with({ url: front.url }).get("/sections")).ok);
    assert.equal(front.requests.length, 3);
  }
  front.fate = () => ({ status: 503 });
  front.requests.length = 0;
  const body = { title: "Once", content: "" };
  const written = await editor.with({ url: front.url }).post("/stories", { body });
  assert.equal(written.ok, false);
  assert.equal(front.requests.length, 1);
  // Errors that waiting does not change are not repeated either.
  front.fate = () => "pass";
  front.requests.length = 0;
  assert.equal((await site.with({ url: front.url }).resolve("/no/such/path")).ok, false);
  assert.equal(front.requests.length, 1);
});

test("the pause that the API asks for is respected, or the error is returned at once", async () => {
  const problem = { type: "t", title: "t", status: 503, detail: "d", code: "overloaded" };
  const headers = { "Retry-After": "3600", "Content-Type": "application/json" };
  front.fate = () => ({ status: 503, headers, body: JSON.stringify(problem) });
  front.requests.length = 0;
  const result = await site.with({ url: front.url }).get("/sections");
  assert.ok(!result.ok && result.error.code === "overloaded");
  assert.equal(result.error.retryAfterSeconds, 3600);
  assert.equal(front.requests.length, 1);
});

test("a client has a prefix, and asks for a token before each request", async () => {
  let asked = 0;
  const provider = async () => (asked++ === 0 ? "expired" : token);
  const client = new Client({ url: `${SITE_URL}///`, token: provider });
  assert.equal((await client.get("/webhooks")).ok, false);
  assert.equal((await client.get("/webhooks")).ok, true);
  assert.equal(asked, 2);
});

test("a write with an old version is a conflict", async () => {
  const { stories } = await sectionWith(1);
  const path = { id: stories[0]!.id };
  const read = await editor.get("/stories/{id}", { path });
  assert.ok(read.ok && read.etag !== null);
  const headers = { "If-Match": read.etag };
  const first = await editor.patch("/stories/{id}", { path, headers, body: { title: "The first" } });
  assert.equal(unwrap(first).title, "The first");
  assert.ok(first.ok && first.etag !== read.etag);
  const second = await editor.patch("/stories/{id}", { path, headers, body: { title: "The second" } });
  assert.ok(!second.ok && second.error.code === "precondition_failed");
  const deleted = await editor.delete("/stories/{id}", { path, headers });
  assert.equal(!deleted.ok && deleted.error.code, "precondition_failed");
  assert.equal(unwrap(await editor.get("/stories/{id}", { path })).title, "The first");
});

test("an edit that another one overtakes is a conflict, or made again", async () => {
  const { stories } = await sectionWith(1);
  const path = { id: stories[0]!.id };
  const overtaking = (attempts: number) => {
    let calls = 0;
    return editor.edit("/stories/{id}", { path, attempts }, async ({ title }) => {
      calls += 1;
      if (calls === 1) {
        const body = { title: `${title} A` };
        unwrap(await editor.patch("/stories/{id}", { path, body }));
      }
      return { title: `${title} B` };
    });
  };
  const lost = await overtaking(1);
  assert.equal(!lost.ok && lost.error.code, "precondition_failed");
  const made = unwrap(await overtaking(2));
  assert.equal(made.title, `${stories[0]!.title} A A B`);
  // Many at once: no edit is lost.
  const tags = ["one", "two", "three", "four"];
  const edits = tags.map((tag) =>
    editor.edit("/stories/{id}", { path, attempts: 20 }, (story) => ({ tags: [...story.tags, tag] })),
  );
  assert.deepEqual((await Promise.all(edits)).map(({ ok }) => ok), [true, true, true, true]);
  const edited = unwrap(await editor.get("/stories/{id}", { path }));
  assert.deepEqual(edited.tags.toSorted(), tags.toSorted());
});

test("a hidden section is edited as well", async () => {
  const body = { title: "Hidden", content_type: "story", is_published: false } as const;
  const path = { id: unwrap(await editor.post("/sections", { body })).id };
  const query = { include_drafts: true };
  const edited = await editor.edit("/sections/{id}", { path, query }, ({ title }) => ({ title: `${title}!` }));
  assert.equal(unwrap(edited).title, "Hidden!");
});

test("a client that is logged shows no token", () => {
  assert.ok(!inspect(editor, { depth: 9, showHidden: true }).includes(token));
});

test("an edit needs a version", async () => {
  const json = { "Content-Type": "application/json" };
  const server = await answering(200, json, '{"title": "A site"}');
  const result = await editor.with({ url: server.url }).edit("/site", {}, () => ({ title: "x" }));
  server.stop();
  assert.equal(!result.ok && result.error.code, "unreadable_answer");
});

test("what has not changed is not sent again", async () => {
  const { section } = await sectionWith(1);
  const query = { section: section.slug };
  const read = await site.get("/stories", { query });
  assert.ok(read.ok && read.etag !== null);
  const same = await site.getIfModified("/stories", read.etag, { query });
  assert.equal(same.ok && same.data, null);
  unwrap(await editor.post("/stories", { body: { title: "x", content: "", section_id: section.id } }));
  const changed = unwrap(await site.getIfModified("/stories", read.etag, { query }));
  assert.equal(changed?.total, 2);
});

test("a creation with a key is done once", async () => {
  const { section } = await sectionWith(0);
  const body = { title: "Made once", content: "<p>x</p>", section_id: section.id };
  const headers = { "Idempotency-Key": crypto.randomUUID() };
  const made = [
    unwrap(await editor.post("/stories", { body, headers })),
    unwrap(await editor.post("/stories", { body, headers })),
  ];
  assert.equal(made[0]!.id, made[1]!.id);
  const other = await editor.post("/stories", { body: { ...body, title: "Another" }, headers });
  assert.equal(!other.ok && other.error.code, "idempotency_key_reused");
});

test("cursors lead through lists of all kinds", async () => {
  for (const path of ["/stories", "/projects", "/pages"] as const) {
    const { total } = unwrap(await site.list(path));
    const ids = new Set();
    for await (const { id } of site.items(path, { query: { limit: 2 } })) ids.add(id);
    assert.equal(ids.size, total, path);
  }
  const { section, stories } = await sectionWith(5);
  const query = { section_id: section.id, limit: 2, sort: "title" } as const;
  const pages = [];
  for await (const page of site.pages("/stories", { query })) pages.push(page.items.length);
  assert.deepEqual(pages, [2, 2, 1]);
  const offset = [];
  for await (const { title } of site.items("/stories", { query: { ...query, offset: 2 } })) offset.push(title);
  assert.deepEqual(offset, stories.slice(2).map(({ title }) => title));
});

test("cursors lead through searches and other lists", async () => {
  const { section } = await sectionWith(3);
  const found = [];
  const query = { q: section.title, section: section.slug, limit: 1 };
  for await (const { path } of site.items("/search", { query })) found.push(path);
  assert.equal(new Set(found).size, 3);
  for await (const { url } of editor.items("/media", { query: { limit: 1 } })) assert.match(url, /^\/uploads\//);
});

test("an error ends an iteration", async () => {
  await assert.rejects(async () => {
    for await (const _ of site.items("/stories", { query: { section: "no-such-section" } }));
  }, ApiError);
});

test("the members of items are selected", async () => {
  const { section } = await sectionWith(1);
  const query = { section: section.slug };
  const cards = unwrap(await site.list("/stories", { query: { ...query, view: "card" } }));
  assert.equal(cards.items[0]?.excerpt, "Text 1.");
  assert.ok(!("content" in cards.items[0]));
  const parts = unwrap(await site.list("/stories", { query: { ...query, fields: ["id", "excerpt"] } }));
  assert.deepEqual(Object.keys(parts.items[0]!), ["id", "excerpt"]);
  const full = unwrap(await site.list("/projects", { query: { view: "full", limit: 1 } }));
  assert.equal(typeof full.items[0]?.content, "string");
});

test("a preview link shows a draft without an account", async () => {
  const { section } = await sectionWith(0);
  const draft = { title: "A draft", content: "<p>x</p>", is_published: false, section_id: section.id };
  const { id, path } = unwrap(await editor.post("/stories", { body: draft }));
  assert.ok(path !== null);
  assert.equal((await site.resolve(path)).ok, false);
  const found = unwrap(await editor.resolve(path, { query: { include_drafts: true } }));
  assert.equal(found.kind, "item");
  const link = unwrap(await editor.post("/preview", { body: { content_type: "story", id } }));
  const shown = unwrap(await site.get("/preview", { query: { token: link.token } }));
  assert.equal(shown.item.title, draft.title);
  const forged = await site.get("/preview", { query: { token: `x${link.token}` } });
  assert.equal(!forged.ok && forged.error.code, "not_found");
});
