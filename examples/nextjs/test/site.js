// Looks at the whole site in a browser, with a running site of Turbulence, and counts the requests that
// each page needs.
//
//     npm run build && npm test
//
// TURBULENCE is the path of the program, and TURBULENCE_LIMIT_MS the longest time for which a page may
// be an old one; the default is generous, since the machine may be busy.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { after, afterEach, before, test } from "node:test";
import { chromium } from "playwright-core";
import { Client, unwrap } from "turbulence-client";
import { startFront } from "../../../clients/typescript/test/support/front.js";
import {
  chromium as pathOfChromium,
  eventually,
  freePort,
  start,
  startSite,
} from "../../../clients/typescript/test/support/site.js";

const LIMIT_MS = Number(process.env.TURBULENCE_LIMIT_MS ?? 10_000);
const SECRET = `whsec_${randomBytes(32).toString("base64")}`;
const NARROW = { width: 360, height: 640 };
const WIDE = { width: 1280, height: 800 };

const port = await freePort();
const frontend = `http://127.0.0.1:${port}`;

let turbulence, front, next, browser, editor;
/** Errors in the browser, of all pages of a test. */
const errors = [];

before(async () => {
  turbulence = await startSite({
    TURBULENCE__SITE__URL: frontend,
    // Next.js runs on this machine.
    TURBULENCE__WEBHOOKS__ALLOW_PRIVATE_NETWORKS: "true",
  });
  editor = new Client({ url: turbulence.url, token: turbulence.token });
  front = await startFront(turbulence.url);
  const program = createRequire(import.meta.url).resolve("next/dist/bin/next");
  const options = [program, "start", "--hostname", "127.0.0.1", "--port", String(port)];
  next = start(process.execPath, options, {
    TURBULENCE_URL: front.url,
    WEBHOOK_SECRET: SECRET,
    NEXT_TELEMETRY_DISABLED: "1",
  });
  const social_links = [{ name: "Source", url: "https://example.com/source" }];
  const facts = { title: "Lamps", description: "About lamps.", language: "en-GB", social_links };
  unwrap(await editor.patch("/site", { body: facts }));
  const webhook = { url: `${frontend}/api/revalidate`, secret: SECRET };
  await eventually("Next.js is ready", () => fetch(`${frontend}/api/preview`).then(() => true, () => false));
  unwrap(await editor.post("/webhooks", { body: webhook }));
  browser = await chromium.launch({ executablePath: pathOfChromium() });
});

after(async () => {
  await browser?.close();
  await next?.stop();
  await front?.stop();
  await turbulence?.stop();
});

afterEach(() => assert.deepEqual(errors.splice(0), []));

/** Opens a tab whose errors are collected. */
async function open(viewport = WIDE) {
  const page = await browser.newPage({ viewport });
  page.on("pageerror", (error) => errors.push(`${page.url()}: ${error}`));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(`${page.url()}: ${message.text()}`);
  });
  return page;
}

/** Opens a path, which has the status and the heading. */
async function visit(page, path, heading, status = 200) {
  const answer = await page.goto(frontend + path);
  assert.equal(answer.status(), status, path);
  assert.equal(await page.locator("h1").first().textContent(), heading, path);
}

/** Waits until a path shows a text, as readers see it, and returns the time that it took. */
async function shown(path, text, isThere = true) {
  const began = performance.now();
  const contains = async () => (await (await fetch(frontend + path)).text()).includes(text) === isThere;
  await eventually(`${path} shows ${text}: ${isThere}`, contains, LIMIT_MS);
  return Math.round(performance.now() - began);
}

const statusOf = async (path) => (await fetch(frontend + path, { redirect: "manual" })).status;

test("a page needs one request beyond those that all pages share", async () => {
  const count = async (path, expected) => {
    front.requests.length = 0;
    const answer = await fetch(frontend + path);
    await answer.text();
    const asked = front.requests.map(({ path }) => path.replace(/\?.*/, "")).sort();
    console.log(`${path}: ${asked.length} requests: ${asked.join(" ") || "none"}`);
    assert.deepEqual(asked, expected, path);
  };
  const { items } = unwrap(await editor.list("/stories", { query: { section: "blog", limit: 1 } }));
  await count("/blog", ["/resolve", "/sections/tree", "/site"]);
  // The navigation and the facts of the site are kept from now on, as are pages.
  await count("/blog", []);
  await count(items[0].path, ["/resolve"]);
  await count("/projects", ["/resolve"]);
  await count("/about", ["/resolve"]);
  await count("/", ["/resolve"]);
  await count("/search?q=lens", ["/search"]);
  await count("/no/such/path", ["/resolve"]);
});

test("the navigation leads to every kind of page", async () => {
  const page = await open();
  await visit(page, "/", "Blog");
  assert.equal(await page.title(), "Blog – Lamps");
  assert.equal(await page.locator("html").getAttribute("lang"), "en-GB");
  const links = page.getByRole("navigation", { name: "Sections" }).getByRole("link");
  assert.deepEqual(await links.allTextContents(), ["Blog", "About", "Projects", "Contact"]);
  for (const name of ["About", "Projects", "Contact", "Blog"]) {
    await links.getByText(name, { exact: true }).click();
    await page.waitForURL(`${frontend}/${name.toLowerCase()}`);
    await page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
  }
  const card = page.locator(".cards a").first();
  const title = await card.textContent();
  await card.click();
  await page.getByRole("heading", { level: 1, name: title, exact: true }).waitFor();
  await page.getByRole("navigation", { name: "Breadcrumbs" }).getByText("Blog").click();
  await page.waitForURL(`${frontend}/blog`);
  assert.equal(await page.locator("footer a").getAttribute("href"), "https://example.com/source");
  await page.close();
});

test("long lists have pages", async () => {
  const { total } = unwrap(await editor.list("/stories", { query: { section: "blog", limit: 1 } }));
  const page = await open();
  await visit(page, "/blog", "Blog");
  const seen = new Set();
  const turn = async (name) => {
    const before = await page.locator(".cards a").allTextContents();
    before.forEach((title) => seen.add(title));
    await page.getByRole("link", { name, exact: true }).click();
    await page.waitForFunction((first) => document.querySelector(".cards a")?.textContent !== first, before[0]);
  };
  while (await page.getByRole("link", { name: "Older", exact: true }).count()) await turn("Older");
  (await page.locator(".cards a").allTextContents()).forEach((title) => seen.add(title));
  assert.equal(seen.size, total);
  await turn("Newer");
  await page.close();
  assert.equal(await statusOf("/blog?cursor=wrong"), 404);
});

test("unknown and former paths", async () => {
  const page = await open();
  await visit(page, "/no/such/path", "Page not found", 404);
  // The browser reports the status, too.
  assert.equal(errors.splice(0).length, 1);
  const body = { title: "Field notes", content_type: "story" };
  const section = unwrap(await editor.post("/sections", { body }));
  const draft = { title: "Birds & bees: größer?", content: "<p>x</p>", section_id: section.id };
  const story = unwrap(await editor.post("/stories", { body: draft }));
  await shown("/field-notes", "Birds &amp; bees");
  await visit(page, story.path, draft.title);
  unwrap(await editor.patch("/sections/{id}", { path: { id: section.id }, body: { slug: "notes" } }));
  await eventually("the redirect", async () => (await statusOf(story.path)) === 308, LIMIT_MS);
  await visit(page, story.path, draft.title);
  assert.equal(page.url(), `${frontend}/notes/${story.slug}`);
  // A section below another one is in the menu.
  const child = { title: "Moths", content_type: "story", parent_id: section.id };
  unwrap(await editor.post("/sections", { body: child }));
  await shown("/", "Moths");
  await visit(page, "/notes/moths", "Moths");
  await page.getByRole("navigation", { name: "Breadcrumbs" }).getByText("Field notes").click();
  await page.waitForURL(`${frontend}/notes`);
  await page.close();
});

test("the search finds items", async () => {
  const page = await open();
  await visit(page, "/", "Blog");
  await page.getByRole("searchbox").fill("lens");
  await page.getByRole("button", { name: "Search" }).click();
  await page.waitForURL(/\/search\?q=lens/);
  assert.ok((await page.locator("mark").allTextContents()).every((text) => /^lens$/i.test(text)));
  const result = page.locator(".cards a").first();
  const title = await result.textContent();
  await result.click();
  await page.getByRole("heading", { level: 1, name: title, exact: true }).waitFor();
  await visit(page, "/search?q=%3C%3E", "Search");
  await page.getByText("Enter a word to find.").waitFor();
  await visit(page, "/search?q=xyzzy", "Search");
  await page.getByText("Nothing has all of these words: xyzzy").waitFor();
  await page.close();
});

test("heads have the address, the feeds and the description", async () => {
  const page = await open();
  await visit(page, "/projects", "Projects");
  const hrefOf = (selector) => page.locator(selector).first().getAttribute("href");
  assert.equal(await hrefOf("link[rel=canonical]"), `${frontend}/projects`);
  const feed = await hrefOf('link[type="application/rss+xml"]');
  assert.match(await (await fetch(new URL(feed, frontend))).text(), /<rss/);
  assert.equal(await page.locator("meta[name=description]").getAttribute("content"), "About lamps.");
  // The facts of an item, and those of the section whose page it is.
  const { items } = unwrap(await editor.list("/stories", { query: { section: "blog", limit: 2 } }));
  const [story, other] = items;
  const facts = { description: "All about it.", social_image: "/uploads/lamp.webp", noindex: true };
  unwrap(await editor.patch("/stories/{id}", { path: { id: story.id }, body: facts }));
  await shown(story.path, "All about it.");
  await visit(page, story.path, story.title);
  const contentOf = (selector) => page.locator(selector).first().getAttribute("content");
  assert.equal(await contentOf("meta[name=description]"), facts.description);
  assert.equal(await contentOf('meta[property="og:image"]'), frontend + facts.social_image);
  assert.match(await contentOf("meta[name=robots]"), /noindex/);
  const elsewhere = { canonical: "https://example.org/first" };
  unwrap(await editor.patch("/stories/{id}", { path: { id: other.id }, body: elsewhere }));
  await shown(other.path, elsewhere.canonical);
  await visit(page, other.path, other.title);
  assert.equal(await hrefOf("link[rel=canonical]"), elsewhere.canonical);
  assert.doesNotMatch(await contentOf("meta[name=robots]"), /noindex/);
  const about = unwrap(await editor.get("/sections/slug/{slug}", { path: { slug: "about" } }));
  const body = { description: "Of the section." };
  unwrap(await editor.patch("/sections/{id}", { path: { id: about.id }, body }));
  await shown("/about", body.description);
  await page.close();
  const sitemap = await (await fetch(`${frontend}/sitemap.xml`)).text();
  const [, part] = sitemap.match(/<loc>([^<]+)<\/loc>/);
  assert.ok(part.startsWith(frontend));
  const addresses = await (await fetch(part.replaceAll("&amp;", "&"))).text();
  assert.ok(addresses.includes(`<loc>${frontend}/projects</loc>`));
  assert.match(await (await fetch(`${frontend}/robots.txt`)).text(), /Sitemap: /);
  assert.equal(await statusOf("/feeds/no-such-section.rss"), 404);
});

test("a preview link shows a draft to one browser", async () => {
  const draft = { title: "Not yet for everyone", content: "<p>Soon.</p>", is_published: false };
  const { id, path } = unwrap(await editor.post("/stories", { body: draft }));
  const body = { content_type: "story", id };
  const { token } = unwrap(await editor.post("/preview", { body }));
  const page = await open();
  await visit(page, `/api/preview?token=${token}`, draft.title);
  assert.equal(page.url(), `${frontend}/draft`);
  unwrap(await editor.patch("/stories/{id}", { path: { id }, body: { title: "Changed while it is read" } }));
  await visit(page, "/draft", "Changed while it is read");
  // It is shown neither without the link, nor with another one, nor at its own path.
  assert.equal(await statusOf("/draft"), 404);
  assert.equal(await statusOf(`/api/preview?token=x${token}`), 404);
  assert.equal(await statusOf("/api/preview"), 404);
  assert.equal(await statusOf(path), 404);
  await page.getByRole("link", { name: "End the preview" }).click();
  await page.getByRole("heading", { level: 1, name: "Blog" }).waitFor();
  assert.equal(await page.getByText("You see drafts.").count(), 0);
  await page.close();
});

test("pages change as soon as the webhook tells of it", async () => {
  const { items } = unwrap(await editor.list("/stories", { query: { section: "blog", limit: 1 } }));
  const { id, path, title } = items[0];
  const page = await open();
  await visit(page, path, title);
  // The page is kept: without a webhook it would not change. Messages of earlier tests may still arrive.
  const isKept = async () => {
    front.requests.length = 0;
    await (await fetch(frontend + path)).text();
    return front.requests.length === 0;
  };
  await eventually("the page is kept", isKept);
  const forged = await fetch(`${frontend}/api/revalidate`, { method: "POST", body: "{}" });
  assert.equal(forged.status, 401);
  await eventually("the page is kept", isKept);
  const patch = async (body) => unwrap(await editor.patch("/stories/{id}", { path: { id }, body }));

  await patch({ title: "Changed in the editor" });
  const changed = await shown(path, "Changed in the editor");
  await visit(page, path, "Changed in the editor");
  await shown("/blog", "Changed in the editor");
  await patch({ is_published: false });
  await eventually("the page is removed", async () => (await statusOf(path)) === 404, LIMIT_MS);
  await shown("/blog", "Changed in the editor", false);
  await patch({ is_published: true });
  const published = await shown(path, "Changed in the editor");
  await page.close();
  console.log(`A page showed a change after ${changed} ms and a publication after ${published} ms.`);
});

test("a narrow screen needs no scrolling to the side", async () => {
  const wide = '<pre>one line that is much longer than the screen of any telephone is wide</pre>'.repeat(2);
  const cells = Array.from({ length: 20 }, (_, n) => `<td>column ${n}</td>`).join("");
  const content = `${wide}<table><tbody><tr>${cells}</tr></tbody></table><p>${"x".repeat(300)}</p>`;
  const story = unwrap(await editor.post("/stories", { body: { title: "Wide", content } }));
  const page = await open(NARROW);
  const paths = ["/", "/blog", "/projects", "/about", "/search?q=lens", story.path];
  for (const path of paths) {
    assert.equal((await page.goto(frontend + path)).status(), 200, path);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= NARROW.width, `${path} is ${width} wide`);
  }
  await page.close();
});
