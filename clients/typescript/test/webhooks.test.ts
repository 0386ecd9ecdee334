import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { type WebhookMessage, unwrap, verifyWebhook } from "turbulence-client";
import { editor, sectionWith } from "./support/client.js";
import { eventually } from "./support/site.js";

const SECRET = `whsec_${randomBytes(32).toString("base64")}`;

/** Signs a message, as the site does. */
function signed(body: string, { secret = SECRET, id = "msg_1", age = 0 } = {}) {
  const timestamp = String(Math.floor(Date.now() / 1000) - age);
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  const signature = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  return new Headers({
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${signature}`,
  });
}

test("messages of the site are verified", async () => {
  const received: (WebhookMessage | null)[] = [];
  const server = createServer(async (request, response) => {
    const headers = new Headers(request.headers as Record<string, string>);
    received.push(await verifyWebhook(SECRET, headers, await text(request)));
    response.writeHead(204).end();
  }).listen(0, "127.0.0.1");
  await new Promise((ready) => server.once("listening", ready));
  const { port } = server.address() as { port: number };
  const body = { url: `http://127.0.0.1:${port}/`, secret: SECRET };
  const path = { id: unwrap(await editor.post("/webhooks", { body })).id };
  unwrap(await editor.post("/webhooks/{id}/test", { path }));
  const { section } = await sectionWith(0);
  const isAbout = (message: WebhookMessage | null) =>
    message !== null && "id" in message.data && message.data.id === section.id;
  await eventually("the messages", () => received.some(isAbout) && received.length >= 2);
  assert.ok(received.every((message) => message !== null));
  assert.ok(received.some(({ type }) => type === "webhook.test"));
  const deliveries = [];
  for await (const { type } of editor.items("/webhooks/{id}/deliveries", { path, query: { limit: 1 } })) {
    deliveries.push(type);
  }
  assert.ok(deliveries.length >= 2);
  unwrap(await editor.delete("/webhooks/{id}", { path }));
  server.close();
});

type Verify = (...[secret, headers, body]: Parameters<typeof verifyWebhook>) => unknown;

/** Returns the function that the guide shows for programs without this package. */
async function verifyOfGuide(): Promise<Verify> {
  const guide = await readFile("../../docs/guides/webhooks.md", "utf8");
  const [, code = ""] = guide.match(/^```js$(.*?)^```$/ms) ?? [];
  const module = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as { verify: Verify };
  return module.verify;
}

test("other messages are not, by the function of the guide either", async () => {
  const verify = await verifyOfGuide();
  const body = '{"type": "stories.updated"}';
  assert.ok(await verifyWebhook(SECRET, signed(body), body));
  assert.ok(verify(SECRET, signed(body), body));
  const bad: [Headers, string][] = [
    [signed(body), `${body} `],
    [signed(body, { secret: `whsec_${randomBytes(32).toString("base64")}` }), body],
    [signed(body, { age: 301 }), body],
    [signed(body, { age: -301 }), body],
    [new Headers(), body],
  ];
  for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
    for (const value of ["", "x", "v1,", "v1,!", "NaN"]) {
      const headers = signed(body);
      headers.set(name, value);
      bad.push([headers, body]);
    }
  }
  for (const [headers, text] of bad) {
    const message = JSON.stringify([...headers]);
    assert.equal(await verifyWebhook(SECRET, headers, text), null, message);
    assert.equal(verify(SECRET, headers, text), null, message);
  }
  for (const secret of ["", "whsec_", "whsec_!"]) {
    assert.equal(await verifyWebhook(secret, signed(body), body), null, secret);
  }
});

test("one of two signatures is enough", async () => {
  const body = "{}";
  const headers = signed(body);
  headers.set("webhook-signature", `v2,x v1,AAAA ${headers.get("webhook-signature")}`);
  assert.deepEqual(await verifyWebhook(SECRET, headers, body), {});
  assert.deepEqual((await verifyOfGuide())(SECRET, headers, body), {});
});
