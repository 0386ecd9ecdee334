// A client with the types of docs/openapi.json. A request that the document does not allow does not
// compile: a wrong path, an unknown parameter, a field that a story does not have.

import createClient from "openapi-fetch";
import type { components, operations, paths } from "./generated/api.js";

type Schemas = components["schemas"];

export type Story = Schemas["Story"];
export type StoryList = Schemas["List_Story"];
/** A page whose items have the members that `view` or `fields` name. */
export type StoryPartList = Schemas["List_StoryPart"];
export type Problem = Schemas["Problem"];

type ListQuery = NonNullable<operations["stories_list"]["parameters"]["query"]>;
export type StoriesQuery = Omit<ListQuery, "view" | "fields">;

/** A value as it was read, and its tag for `If-Match`. */
export interface Tagged<T> {
  value: T;
  etag: string | null;
}

/** The error of a request. Branch on `problem.code`. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

interface Answer<T> {
  data?: T;
  error?: Problem;
  response: Response;
}

function tagged<T>({ data, error, response }: Answer<T>): Tagged<T> {
  if (error !== undefined) throw new ApiError(error);
  if (data === undefined) throw new Error(`the answer has no body (${response.status})`);
  return { value: data, etag: response.headers.get("etag") };
}

export function turbulence(baseUrl: string, token?: string) {
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const client = createClient<paths>({ baseUrl, headers });

  return {
    /** Returns a page of the list, newest first unless `sort` says otherwise. */
    async stories(query: StoriesQuery = {}): Promise<StoryList> {
      // Items have all members unless the query has `view` or `fields`.
      return tagged(await client.GET("/stories", { params: { query } })).value as StoryList;
    },

    /** Returns a page of cards: without `content`, with `excerpt` and `image_url`. */
    async storyCards(query: StoriesQuery = {}): Promise<StoryPartList> {
      const params = { query: { ...query, view: "card" as const } };
      return tagged(await client.GET("/stories", { params })).value;
    },

    /** Returns the whole list, page by page. */
    async *allStories(query: Omit<StoriesQuery, "cursor" | "offset"> = {}): AsyncGenerator<Story> {
      let cursor: string | null | undefined;
      do {
        const page = await this.stories(cursor ? { ...query, cursor } : query);
        yield* page.items;
        cursor = page.next_cursor;
      } while (cursor);
    },

    /** Returns the section or item at a path of the site. Follows one redirect. */
    async resolve(path: string) {
      const at = async (path: string) =>
        tagged(await client.GET("/resolve", { params: { query: { path } } })).value;
      const found = await at(path);
      return found.kind === "moved" ? at(found.moved_to) : found;
    },

    /** Returns the changes after a cursor, and the next one. Without a cursor there are none yet. */
    async changes(cursor = "", kinds: Schemas["PublicKind"][] = []) {
      const query = kinds.length === 0 ? { cursor } : { cursor, kind: kinds.join(",") };
      return tagged(await client.GET("/changes", { params: { query } })).value;
    },

    /** Creates a story. A second call with the same key creates nothing more. */
    async createStory(body: Schemas["StoryCreate"], key: string = crypto.randomUUID()) {
      const params = { header: { "Idempotency-Key": key } };
      return tagged(await client.POST("/stories", { params, body }));
    },

    /** Changes a story, unless someone else has changed it since it was read. */
    async editStory(story: Tagged<Story>, body: Schemas["StoryPatch"]) {
      const header = story.etag === null ? {} : { "If-Match": story.etag };
      const params = { path: { id: story.value.id }, header };
      return tagged(await client.PATCH("/stories/{id}", { params, body }));
    },
  };
}
