// A test of the types of `/resolve`: this file compiles only if `kind` and the content type of the
// section determine the type of `content`.

import type { components } from "./generated/api.js";

type Schemas = components["schemas"];
type Resolution = Schemas["Resolution"];
type ContentType = Schemas["ContentType"];

type IsSame<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** The type of `content` in an answer of this kind, for a section of this content type. */
type ContentOf<K extends Resolution["kind"], T extends ContentType> =
  Extract<Resolution, { kind: K; section: { content_type: T } }> extends { content: infer C } ? C : never;

type AllTrue<T extends readonly true[]> = T;

export type Checked = AllTrue<
  [
    IsSame<Resolution["kind"], "section" | "item" | "moved">,
    IsSame<Extract<Resolution, { kind: "moved" }>["moved_to"], string>,
    IsSame<ContentOf<"section", "story">, Schemas["List_Story"]>,
    IsSame<ContentOf<"section", "project">, Schemas["List_ProjectCard"]>,
    IsSame<ContentOf<"section", "page">, Schemas["List_Page"]>,
    IsSame<ContentOf<"item", "story">, Schemas["Story"]>,
    IsSame<ContentOf<"item", "project">, Schemas["Project"]>,
    IsSame<ContentOf<"item", "page">, Schemas["Page"]>,
  ]
>;

/** Returns the title of the section or item at a path, and the titles of the items in it. */
export function titles(answer: Resolution): string[] {
  switch (answer.kind) {
    case "section":
      return [answer.section.title, ...answer.content.items.map((item) => item.title)];
    case "item":
      return [answer.content.title];
    case "moved":
      // @ts-expect-error: a moved path has no content.
      answer.content;
      return [answer.moved_to];
  }
}

export function misuse(answer: Resolution): void {
  // @ts-expect-error: only some kinds have content.
  answer.content;
  if (answer.kind === "item") {
    // @ts-expect-error: an item has no items.
    answer.content.items;
  }
  if (answer.kind === "section") {
    // @ts-expect-error: a page of a list has no title.
    answer.content.title;
  }
}
