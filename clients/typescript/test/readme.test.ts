// The code of README.md, in its order; `snippets.test.ts` compares both.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { type TestContext, test } from "node:test";
import { ApiError, Client, isAbout, unwrap, verifyWebhook } from "turbulence-client";
import { SITE_URL, token } from "./support/client.js";
import { picture } from "./support/files.js";
import { eventually } from "./support/site.js";

/** Keeps what is logged until the end of a test, and returns it as a text. */
function logged({ mock }: TestContext): () => string {
  const log = mock.method(console, "log", () => {});
  return () => log.mock.calls.map(({ arguments: values }) => values.join(" ")).join("\n");
}

// The address in README.md is that of a site that was started by hand.
const fetch: typeof globalThis.fetch = (address, init) =>
  globalThis.fetch(String(address).replace("http://127.0.0.1:5001", SITE_URL), init);

function clients() {
  const site = new Client({ url: "http://127.0.0.1:5001" });
  const editor = site.with({ token });
  return { site: site.with({ fetch }), editor: editor.with({ fetch }) };
}

const { site, editor } = clients();

test("requests", async (t) => {
  const output = logged(t);
  const result = await site.get("/stories/slug/{slug}", { path: { slug: "first-light" } });
  if (result.ok) console.log(result.data.title, result.etag);

  const tree = unwrap(await site.get("/sections/tree"));
  console.log(tree[0]?.slug);
  assert.match(output(), /^First light.* "[\w-]+"\nblog$/);
});

test("errors", async (t) => {
  const output = logged(t);
  const created = await editor.post("/stories", { body: { title: "", content: "<p>x</p>" } });
  if (!created.ok) {
    switch (created.error.code) {
      case "validation_failed":
        for (const { field, message } of created.error.problem.errors ?? []) console.log(field, message);
        break;
      case "network_failed":
        console.log("Is the gateway running?", created.error.cause);
        break;
      default:
        throw created.error;
    }
  }
  assert.match(output(), /^title must not be blank/);
  assert.throws(() => unwrap({ ok: false, error: new ApiError<"internal">({} as never) }), ApiError);
});

test("paths of the site", async (t) => {
  const output = logged(t);
  const found = unwrap(await site.resolve("/projects", { query: { limit: 20 } }));
  switch (found.kind) {
    case "moved":
      console.log("redirect to", found.moved_to);
      break;
    case "item":
      console.log(found.content.title);
      break;
    case "section":
      for (const item of found.content.items) console.log(item.title, item.path);
      if (isAbout(found, "project")) console.log(found.content.items[0]?.technologies);
  }
  assert.match(output(), /^Lamp log \/projects\/lamp-log\n/m);
  assert.match(output(), /\nRust,/);
});

test("lists and searches", async (t) => {
  const output = logged(t);
  const cards = unwrap(await site.list("/stories", { query: { section: "blog", view: "card" } }));
  console.log(cards.total, cards.items[0]?.excerpt);

  const query = { fields: ["title", "path"], sort: "title" } as const;
  for await (const { title, path } of site.items("/stories", { query })) console.log(title, path);

  for await (const hit of site.items("/search", { query: { q: "lens", kind: ["stories"] } })) {
    console.log(hit.path, hit.excerpt.map(({ text, is_match }) => (is_match ? `*${text}*` : text)).join(""));
  }
  assert.match(output(), /^\d+ \w/);
  assert.match(output(), /\*lens\*/);
});

test("write, preview and upload", async (t) => {
  const output = logged(t);
  const headers = { "Idempotency-Key": crypto.randomUUID() };
  const body = { title: "A new lens", content: "<p>It came by boat.</p>", is_published: false };
  const story = unwrap(await editor.post("/stories", { body, headers }));

  const path = { id: story.id };
  const edited = await editor.edit("/stories/{id}", { path, attempts: 3 }, ({ tags }) => ({
    tags: [...tags, "lamps"],
  }));
  if (!edited.ok && edited.error.code === "precondition_failed") console.log("Others are editing it.");
  assert.deepEqual(unwrap(edited).tags, ["lamps"]);

  const read = await editor.get("/stories/{id}", { path });
  if (!read.ok || read.etag === null) throw new Error("it cannot be edited");
  const title = "The new lens";
  const saved = await editor.patch("/stories/{id}", {
    path,
    headers: { "If-Match": read.etag },
    body: { title },
  });
  assert.equal(unwrap(saved).title, title);

  const again = await editor.getIfModified("/stories/{id}", read.etag, { path });
  if (again.ok && again.data !== null) console.log("It was changed:", again.data.title);

  const link = unwrap(await editor.post("/preview", { body: { content_type: "story", id: story.id } }));
  const preview = unwrap(await site.get("/preview", { query: { token: link.token } }));
  if (preview.content_type === "story") console.log(preview.item.title, preview.expires_at);
  assert.match(output(), /^It was changed: The new lens\nThe new lens 20\d\d-/);

  const files = [new File([picture], "dot.png")];
  const uploaded = await editor.upload(files, {
    onProgress: ({ sent, total }) => console.log(`${Math.round((100 * sent) / total)} %`),
  });
  const { urls, srcsets } = unwrap(uploaded);
  assert.equal(urls.length, srcsets.length);
  assert.match(output(), /^100 %$/m);
});

test("changes", async (t) => {
  const output = logged(t);
  const { cursor } = unwrap(await site.get("/changes"));
  const controller = new AbortController();
  const { signal } = controller;
  const story = { title: "Heard of", content: "<p>x</p>" };
  const { id } = unwrap(await editor.post("/stories", { body: story }));
  const isTold = async () => {
    await eventually("the change", () => output().includes(id));
    controller.abort();
  };
  const told = isTold();
  for await (const change of site.changes({ kinds: ["stories"], signal, cursor })) {
    // Without an id, any story may have changed.
    console.log(change.event, change.id ?? "several", change.path ?? change.previous_path);
  }
  await told;
  assert.match(output(), new RegExp(`created ${id} /blog/heard-of`));
});

test("webhooks", async () => {
  const secret = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==";
  async function receive(request: Request): Promise<Response> {
    const message = await verifyWebhook(secret, request.headers, await request.text());
    if (message === null) return new Response("the signature is not valid", { status: 401 });
    return Response.json(message.type);
  }
  const body = '{"type": "webhook.test"}';
  const time = String(Math.floor(Date.now() / 1000));
  const signature = createHmac("sha256", "secret of the tests").update(`m.${time}.${body}`).digest("base64");
  const names = { "webhook-id": "m", "webhook-timestamp": time };
  const send = (headers: HeadersInit) =>
    receive(new Request("http://127.0.0.1/", { method: "POST", body, headers }));
  assert.equal((await send({ ...names, "webhook-signature": `v1,${signature}` })).status, 200);
  assert.equal((await send({ ...names, "webhook-signature": "v1,x" })).status, 401);
});
