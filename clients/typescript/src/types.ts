// The types of requests and answers, derived from those of the description of the API.

import type { ErrorCodes, components, paths } from "./generated/api.js";

export type Schemas = components["schemas"];
export type Method = "get" | "post" | "put" | "patch" | "delete";

/** The routes of the API, apart from the health checks, whose errors have other bodies. */
type Path = Exclude<keyof paths, `/health${string}` | "/warmup">;

/** The paths that have a method. */
export type PathOf<M extends Method> = {
  [P in Path]: paths[P] extends Record<M, { responses: object }> ? P : never;
}[Path];

type Operation<P extends Path, M extends Method> = paths[P][M];

type ParametersIn<P extends Path, M extends Method, In extends "path" | "query" | "header"> =
  Operation<P, M> extends { parameters: infer All }
    ? In extends keyof All
      ? NonNullable<All[In]>
      : never
    : never;

/** A member that is absent if nothing can be in it, and required if anything in it is. */
type Member<Name extends string, T> = [T] extends [never]
  ? { [N in Name]?: undefined }
  : {} extends T
    ? { [N in Name]?: T }
    : { [N in Name]: T };

type BodyOf<P extends Path, M extends Method> =
  Operation<P, M> extends { requestBody: { content: { "application/json": infer Body } } }
    ? Body
    : never;

/** The headers without those that have methods of their own, or `never` if there are no others. */
type Headers<All, Own = Omit<All, "If-None-Match" | "Range">> = [keyof Own] extends [never] ? never : Own;

export type Query<P extends Path, M extends Method = "get"> = ParametersIn<P, M, "query">;

/** The options of any request. */
export interface CallOptions {
  /** Ends the request: the result is the error `aborted`. */
  signal?: AbortSignal;
  /** The longest time for the whole request with its retries. The default is that of the client. */
  timeoutMs?: number;
  /** Options of `fetch`, such as `cache`, `credentials` or `next` of Next.js. */
  init?: RequestInit;
}

/** The parameters, headers and body of a request. `getIfModified` sends `If-None-Match`. */
export type RequestOptions<P extends Path, M extends Method> = CallOptions &
  Member<"path", ParametersIn<P, M, "path">> &
  Member<"query", Query<P, M>> &
  Member<"headers", Headers<ParametersIn<P, M, "header">>> &
  Member<"body", BodyOf<P, M>>;

/** The options as arguments: they can be left out if nothing is required. */
export type Arguments<Options> = {} extends Options ? [options?: Options] : [options: Options];

type Content<Response> = Response extends { content: infer Types }
  ? Types extends { "application/json": infer Json }
    ? Json
    : Types extends { "application/octet-stream": unknown }
      ? Blob
      : Types[keyof Types & string]
  : undefined;

type Successes<P extends Path, M extends Method> =
  Operation<P, M> extends { responses: infer Responses }
    ? { [Status in keyof Responses & (200 | 201 | 202 | 204)]: Content<Responses[Status]> }
    : never;

type Success<P extends Path, M extends Method> = Successes<P, M>[keyof Successes<P, M>];

/** The codes of the errors of a request. Any route can be overloaded. */
export type CodeOf<P extends Path, M extends Method> = P extends keyof ErrorCodes
  ? M extends keyof ErrorCodes[P]
    ? Extract<ErrorCodes[P][M], ErrorCode> | "overloaded"
    : never
  : never;

export type ErrorCode = Schemas["ErrorCode"];

// Lists of content: their items depend on `view` and `fields`.

/** The routes that have a parameter of this name. */
type PathWith<Name extends string> = {
  [P in PathOf<"get">]: Query<P> extends never ? never : Name extends keyof Query<P> ? P : never;
}[PathOf<"get">];

/** A page of a list. */
type PageOf<Item> = { items: Item[]; next_cursor?: string | null };

/** The lists whose items can be selected: those of stories, projects and pages. */
export type ContentPath = PathWith<"view">;

/** The routes that answer a page of a list and the cursor of the next one. */
export type PagedPath = {
  [P in PathWith<"cursor">]: Success<P, "get"> extends PageOf<unknown> ? P : never;
}[PathWith<"cursor">];

export type ViewOf<P extends PagedPath> = P extends ContentPath
  ? NonNullable<Query<P>["view"]>
  : never;
export type FieldOf<P extends PagedPath> = P extends ContentPath
  ? NonNullable<Query<P>["fields"]>[number]
  : never;

/** The item with the members that `view` or `fields` name, each of which can be absent. */
type PartOf<P extends PagedPath> = Exclude<Success<P, "get">, WholePageOf<P>> extends PageOf<infer Item>
  ? Item
  : never;
type WholePageOf<P extends PagedPath> = Extract<Success<P, "get">, PageOf<{ id: unknown }>>;
type FullItemOf<P extends PagedPath> = `${P}/{id}` extends PathOf<"get">
  ? Success<`${P}/{id}`, "get">
  : never;

/** An item without its text, with the beginning of it and its first picture. */
type CardOf<P extends PagedPath> = Required<Omit<PartOf<P>, "content">>;

type ViewedItem<P extends PagedPath, V> = V extends "card" ? CardOf<P> : FullItemOf<P>;

/** An item of a list, as `view` and `fields` select it. */
export type ItemOf<P extends PagedPath, V = never, F = never> = [F] extends [never]
  ? [V] extends [never]
    ? WholePageOf<P>["items"][number]
    : ViewedItem<P, V>
  : Pick<Required<PartOf<P>>, F & keyof PartOf<P>>;

/** A page of a list, as `view` and `fields` select its items. */
export type Page<P extends PagedPath, V = never, F = never> = Omit<WholePageOf<P>, "items"> & {
  items: ItemOf<P, V, F>[];
};

/** The answer to a request without `view` and `fields`. */
export type Data<P extends Path, M extends Method> = M extends "get"
  ? P extends ContentPath & PagedPath
    ? Page<P>
    : Success<P, M>
  : Success<P, M>;

type Selection = "view" | "fields";

/** The options of `get`: `list` has `view` and `fields`. */
export type GetOptions<P extends PathOf<"get">> = P extends ContentPath
  ? Omit<RequestOptions<P, "get">, "query"> & { query?: Omit<Query<P>, Selection> }
  : RequestOptions<P, "get">;

/** The options of a list, with the selection of its items. */
export type ListOptions<P extends PagedPath, V, F> = GetOptions<P> & {
  query?: { view?: V; fields?: readonly F[] };
};

/** The paged routes that can be read without any options. */
export type PlainPagedPath = { [P in PagedPath]: {} extends GetOptions<P> ? P : never }[PagedPath];

/** The routes that answer something with a tag, and change it if the tag is still the same. */
export type EditablePath = {
  [P in PathOf<"get"> & PathOf<"patch">]: ParametersIn<P, "patch", "header"> extends never
    ? never
    : P;
}[PathOf<"get"> & PathOf<"patch">];

/** The changes of a `PATCH`. */
export type PatchOf<P extends EditablePath> = BodyOf<P, "patch">;

/** A type without members other than those of `T`. An object that a function returns is not checked for them. */
export type Exactly<T, Given> = T & { [Name in Exclude<keyof Given, keyof T>]: never };

// The answers of `/resolve`.

export type Resolution = Schemas["Resolution"];
export type ContentType = Schemas["ContentType"];

/** The answers of `/resolve` for sections with content of a type. */
export type ResolutionOf<T extends ContentType, R extends Resolution = Resolution> = Extract<
  R,
  { section: { content_type: T } }
>;

/** A change of what the public sees, of `/changes`. */
export type Change = Schemas["PublicChange"];
export type Kind = Schemas["PublicKind"];
