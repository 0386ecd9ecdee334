// Tests of the types: this file compiles only if right uses are accepted and wrong ones are not. It is
// never run.

import {
  type ApiError,
  type Change,
  Client,
  type ContentPath,
  type ContentType,
  type ErrorCode,
  type Kind,
  type PagedPath,
  type Resolution,
  type ResolutionOf,
  type Schemas,
  isAbout,
  unwrap,
} from "turbulence-client";

type IsSame<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Accepts only `true`. */
function isTrue<T extends true>(..._: T[]): void {}

/** Returns a value of any type. */
declare function some<T>(): T;

const site = new Client({ url: "http://127.0.0.1:5001" });

/** The type of `content` in an answer of this kind, for a section of this content type. */
type ContentOf<K extends Resolution["kind"], T extends ContentType> =
  Extract<ResolutionOf<T>, { kind: K }> extends { content: infer C } ? C : never;

export function resolutions(answer: Resolution): string[] {
  isTrue<IsSame<Resolution["kind"], "section" | "item" | "moved">>();
  isTrue<IsSame<ContentOf<"section", "story">, Schemas["List_Story"]>>();
  isTrue<IsSame<ContentOf<"section", "project">, Schemas["List_ProjectCard"]>>();
  isTrue<IsSame<ContentOf<"section", "page">, Schemas["List_Page"]>>();
  isTrue<IsSame<ContentOf<"item", "story">, Schemas["Story"]>>();
  isTrue<IsSame<ContentOf<"item", "project">, Schemas["Project"]>>();
  isTrue<IsSame<ContentOf<"item", "page">, Schemas["Page"]>>();

  // @ts-expect-error: only some kinds have content.
  answer.content;
  switch (answer.kind) {
    case "section":
      // @ts-expect-error: a page of a list has no title.
      answer.content.title;
      return [answer.section.title, ...answer.content.items.map((item) => item.title)];
    case "item":
      // @ts-expect-error: an item has no items.
      answer.content.items;
      // @ts-expect-error: only projects have a summary.
      answer.content.summary;
      if (isAbout(answer, "project")) return [answer.content.title, answer.content.summary ?? ""];
      return [answer.content.title];
    case "moved":
      // @ts-expect-error: a moved path has no content.
      answer.content;
      return [answer.moved_to];
  }
}

export async function requests(): Promise<void> {
  await site.get("/sections/tree");
  await site.get("/stories/{id}", { path: { id: "626e3e0035b0bc65bb5e1545" } });
  await site.get("/search", { query: { q: "lens", kind: ["stories", "pages"] } });
  await site.post("/stories", {
    body: { title: "A title", content: "<p>x</p>" },
    headers: { "Idempotency-Key": "8e03978e" },
  });
  await site.delete("/sections/{id}", { path: { id: "x" }, query: { on_children: "cascade" } });

  // @ts-expect-error: there is no such route.
  await site.get("/storys");
  // @ts-expect-error: the route has no such method.
  await site.delete("/stories");
  // @ts-expect-error: the parameter of the path is missing.
  await site.get("/stories/{id}");
  // @ts-expect-error: the parameter has another name.
  await site.get("/stories/{id}", { path: { slug: "x" } });
  // @ts-expect-error: `q` is required.
  await site.get("/search", { query: {} });
  // @ts-expect-error: the options are required.
  await site.get("/search");
  // @ts-expect-error: there is no such parameter.
  await site.get("/stories", { query: { limit: 5, colour: "red" } });
  // @ts-expect-error: a number.
  await site.get("/stories", { query: { limit: "5" } });
  // @ts-expect-error: there is no such kind.
  await site.get("/search", { query: { q: "lens", kind: ["books"] } });
  // @ts-expect-error: `list` selects the members of items.
  await site.get("/stories", { query: { view: "card" } });
  // @ts-expect-error: `getIfModified` sends it.
  await site.get("/stories", { headers: { "If-None-Match": "x" } });
  // @ts-expect-error: a read has no body.
  await site.get("/stories", { body: {} });
  // @ts-expect-error: `content` is required.
  await site.post("/stories", { body: { title: "A title" } });
  // @ts-expect-error: stories have no such member.
  await site.post("/stories", { body: { title: "A title", content: "", page_type: "about" } });
  // @ts-expect-error: a new story is created, whatever there was before.
  await site.post("/stories", { body: { title: "x", content: "" }, headers: { "If-Match": "x" } });
  // @ts-expect-error: there is no such value.
  await site.delete("/sections/{id}", { path: { id: "x" }, query: { on_children: "ignore" } });
}

export async function results(): Promise<void> {
  const read = await site.get("/stories/{id}", { path: { id: "x" } });
  // @ts-expect-error: there may be an error instead.
  read.data;
  if (read.ok) {
    isTrue<IsSame<typeof read.data, Schemas["Story"]>>();
    // @ts-expect-error: there is no error.
    read.error;
  }
  const deleted = unwrap(await site.delete("/stories/{id}", { path: { id: "x" } }));
  isTrue<IsSame<typeof deleted, undefined>>();
  const text = unwrap(await site.get("/robots.txt"));
  isTrue<IsSame<typeof text, string>>();
  const unmodified = unwrap(await site.getIfModified("/sections", '"tag"'));
  isTrue<IsSame<typeof unmodified, Schemas["Section"][] | null>>();
}

export async function errors(): Promise<string> {
  const read = await site.get("/stories/{id}", { path: { id: "x" } });
  if (read.ok) return read.data.title;
  // @ts-expect-error: only an error of the API has a problem.
  read.error.problem;
  // @ts-expect-error: this request cannot have the code.
  if (read.error.code === "slug_taken") return "";
  // @ts-expect-error: there is no such code.
  if (read.error.code === "not-found") return "";
  switch (read.error.code) {
    case "not_found":
      isTrue<IsSame<typeof read.error, ApiError<"not_found">>>();
      return read.error.problem.detail;
    case "unreadable_answer":
      return `${read.error.status}: ${read.error.excerpt}`;
    case "network_failed":
    case "timed_out":
    case "aborted":
      return read.error.message;
    case "validation_failed":
      return (read.error.problem.errors ?? []).map(({ field }) => field).join();
    case "invalid_id":
    case "invalid_path":
    case "unauthorized":
    case "forbidden":
    case "too_many_requests":
    case "unreadable_document":
    case "internal":
    case "upstream_broken":
    case "upstream_unavailable":
    case "upstream_timeout":
    case "auth_unavailable":
    case "database_unavailable":
    case "not_ready":
    case "overloaded":
      return read.error.code satisfies ErrorCode;
    default:
      // All members of the union are above.
      return read.error satisfies never;
  }
}

export async function lists(): Promise<void> {
  isTrue<IsSame<Exclude<ContentPath, PagedPath>, never>>();
  isTrue<IsSame<Extract<"/robots.txt" | "/tags", ContentPath | PagedPath>, never>>();
  const stories = unwrap(await site.list("/stories"));
  isTrue<IsSame<(typeof stories.items)[number], Schemas["Story"]>>();
  isTrue<IsSame<typeof stories.total, number>>();

  const cards = unwrap(await site.list("/stories", { query: { view: "card", limit: 5 } }));
  isTrue<IsSame<(typeof cards.items)[number]["excerpt"], string>>();
  isTrue<IsSame<(typeof cards.items)[number]["image_url"], string | null>>();
  // @ts-expect-error: cards have no content.
  cards.items[0]?.content;

  const full = unwrap(await site.list("/projects", { query: { view: "full" } }));
  isTrue<IsSame<(typeof full.items)[number], Schemas["Project"]>>();
  const projects = unwrap(await site.list("/projects"));
  isTrue<IsSame<(typeof projects.items)[number], Schemas["ProjectCard"]>>();

  const parts = unwrap(await site.list("/pages", { query: { fields: ["title", "path"] } }));
  isTrue<IsSame<(typeof parts.items)[number], { title: string; path: string | null }>>();
  // @ts-expect-error: pages have no such member.
  await site.list("/pages", { query: { fields: ["title", "summary"] } });
  // @ts-expect-error: there is no such view.
  await site.list("/stories", { query: { view: "tile" } });
  // @ts-expect-error: there is no such parameter.
  await site.list("/stories", { query: { view: "card", colour: "red" } });
  // @ts-expect-error: tags have no pages.
  await site.list("/tags");
  // @ts-expect-error: `q` is required.
  await site.list("/search");

  for await (const result of site.items("/search", { query: { q: "lens" } })) {
    isTrue<IsSame<typeof result, Schemas["SearchResult"]>>();
  }
  for await (const card of site.items("/stories", { query: { view: "card" } })) card.excerpt;
  for await (const page of site.pages("/media")) page.items[0]?.srcset;
  const path = { id: "626e3e0035b0bc65bb5e1545" };
  for await (const delivery of site.items("/webhooks/{id}/deliveries", { path })) delivery.state;
}

export async function edits(): Promise<void> {
  const path = { id: "626e3e0035b0bc65bb5e1545" };
  const edited = await site.edit("/stories/{id}", { path }, (story) => ({ title: `${story.title}!` }));
  if (!edited.ok && edited.error.code === "precondition_failed") edited.error.problem.detail;
  await site.edit("/site", {}, ({ title }) => ({ title: title ?? "A site" }));
  // @ts-expect-error: stories have no such member.
  await site.edit("/stories/{id}", { path }, () => ({ summary: "x" }));
  // @ts-expect-error: webhooks have no versions.
  await site.edit("/webhooks/{id}", { path }, () => ({}));
}

export async function changes(): Promise<void> {
  for await (const change of site.changes({ kinds: ["stories"] })) {
    isTrue<IsSame<typeof change, Change>>();
    isTrue<IsSame<typeof change.kind, Kind | null>>();
  }
  // @ts-expect-error: there is no such kind.
  site.changes({ kinds: ["books"] });
}

export async function others(): Promise<void> {
  const { urls, srcsets } = unwrap(await site.upload([some<File>()], { onProgress: ({ sent }) => sent }));
  isTrue<IsSame<typeof urls | typeof srcsets, string[]>>();
  // @ts-expect-error: a file is not its name.
  await site.upload(["photo.jpg"]);
  const body = { content_type: "story", id: "x" } as const;
  const link = unwrap(await site.post("/preview", { body }));
  const shown = unwrap(await site.get("/preview", { query: { token: link.token } }));
  isTrue<IsSame<typeof shown.expires_at, string>>();
}
