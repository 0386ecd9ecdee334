// The requests of all pages. Each is made once for a page, however many components need its answer.

import { cache } from "react";
import { Client, type ContentPath, type ContentType, type Schemas, unwrap } from "turbulence-client";

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

/** Returns the content of a path, or `null` if there is none. */
export const resolve = cache(async (path: string) => {
  const result = await site.resolve(path, { query: { limit: PAGE_SIZE } });
  if (!result.ok && result.error.code === "not_found") return null;
  return unwrap(result);
});

const LISTS: Record<ContentType, ContentPath> = {
  story: "/stories",
  project: "/projects",
  page: "/pages",
};

/** Returns a further page of a section, or `null` if the cursor is wrong. */
export async function further({ id, content_type }: Schemas["Section"], cursor: string) {
  const query = { section_id: id, limit: PAGE_SIZE, cursor };
  const result = await site.list(LISTS[content_type], { query });
  if (!result.ok && result.error.code === "validation_failed") return null;
  return unwrap(result);
}

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
