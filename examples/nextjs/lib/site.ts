// The requests of all pages. Each is made once for a page, however many components need its answer.

import { cache } from "react";
import { Client, unwrap } from "turbulence-client";

/** The kinds of things of which pages are made. Each is a tag of the answers that are kept. */
export const KINDS = ["sections", "stories", "projects", "pages"];

/** The number of items of a page of a section, and of search results. */
export const PAGE_SIZE = 5;

// Next.js keeps answers until a webhook tells of a change of their kinds.
const site = new Client({
  url: process.env.TURBULENCE_URL ?? "http://127.0.0.1:5001",
  init: { cache: "force-cache", next: { tags: KINDS } },
});

/** Returns title, language and links of the site. Webhooks tell nothing of them. */
export const facts = cache(async () =>
  unwrap(await site.get("/site", { init: { next: { revalidate: 60 } } })),
);

/** Returns the navigation: the public sections as a tree. */
export const navigation = cache(async () =>
  unwrap(await site.get("/sections/tree", { init: { next: { tags: ["sections"] } } })),
);

/**
 * Returns the content of a path, or `null` if there is none. `cursor` is that of a page of a section; a
 * wrong one is an address that does not exist, too.
 */
export const resolve = cache(async (path: string, cursor?: string) => {
  const result = await site.resolve(path, { query: { limit: PAGE_SIZE, ...(cursor ? { cursor } : {}) } });
  if (!result.ok && ["not_found", "validation_failed"].includes(result.error.code)) return null;
  return unwrap(result);
});

/** Returns the items with some words, or `null` if there is no word in the query. */
export async function search(q: string, cursor?: string) {
  const query = { q, limit: PAGE_SIZE, ...(cursor ? { cursor } : {}) };
  const result = await site.list("/search", { query, init: { cache: "no-store", next: {} } });
  if (!result.ok && result.error.code === "validation_failed") return null;
  return unwrap(result);
}

/** Returns the item of a preview link, or `null` if the link does not work. It is never kept. */
export async function preview(token: string) {
  const result = await site.get("/preview", { query: { token }, init: { cache: "no-store", next: {} } });
  if (!result.ok && ["not_found", "validation_failed"].includes(result.error.code)) return null;
  return unwrap(result);
}
