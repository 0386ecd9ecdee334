// The client: typed requests, and what frontends need beyond single requests.

import { changes, type ChangesOptions } from "./changes.js";
import { type Result, UnreadableAnswerError, unwrap } from "./errors.js";
import { type ClientOptions, type Request, send } from "./request.js";
import type {
  Arguments,
  CallOptions,
  Change,
  CodeOf,
  ContentType,
  Data,
  EditablePath,
  ErrorCode,
  Exactly,
  FieldOf,
  GetOptions,
  ItemOf,
  ListOptions,
  Method,
  Page,
  PagedPath,
  PatchOf,
  PathOf,
  PlainPagedPath,
  Query,
  RequestOptions,
  Resolution,
  ResolutionOf,
  ViewOf,
} from "./types.js";
import { type UploadFile, type UploadOptions, upload } from "./upload.js";

type Answer<P extends PathOf<M>, M extends Method> = Promise<Result<Data<P, M>, CodeOf<P, M>>>;

export interface EditOptions extends CallOptions {
  /**
   * How often the value is read and changed if others change it at the same time. The default is 1: the
   * result is then the error `precondition_failed`.
   */
  attempts?: number;
}

/** A client of one site. It keeps no state, so that one object serves all requests. */
export class Client {
  // Private, so that a client that is logged does not show its token.
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Returns a client with some other options, such as the token of a caller. */
  with(options: Partial<ClientOptions>): Client {
    return new Client({ ...this.#options, ...options });
  }

  /** Reads. Temporary failures are repeated. */
  get<P extends PathOf<"get">>(path: P, ...[options]: Arguments<GetOptions<P>>): Answer<P, "get"> {
    return this.#send("get", path, options);
  }

  /** Creates or starts something. With the header `Idempotency-Key`, a second call creates nothing more. */
  post<P extends PathOf<"post">>(
    path: P,
    ...[options]: Arguments<RequestOptions<P, "post">>
  ): Answer<P, "post"> {
    return this.#send("post", path, options);
  }

  /** Replaces; with the header `If-Match`, only if it is still the version that was read. */
  put<P extends PathOf<"put">>(
    path: P,
    ...[options]: Arguments<RequestOptions<P, "put">>
  ): Answer<P, "put"> {
    return this.#send("put", path, options);
  }

  /** Changes some members; with the header `If-Match`, only if it is still the version that was read. */
  patch<P extends PathOf<"patch">>(
    path: P,
    ...[options]: Arguments<RequestOptions<P, "patch">>
  ): Answer<P, "patch"> {
    return this.#send("patch", path, options);
  }

  /** Deletes; with the header `If-Match`, only if it is still the version that was read. */
  delete<P extends PathOf<"delete">>(
    path: P,
    ...[options]: Arguments<RequestOptions<P, "delete">>
  ): Answer<P, "delete"> {
    return this.#send("delete", path, options);
  }

  /** Reads something unless it still has the tag: `data` is `null` then. */
  getIfModified<P extends PathOf<"get">>(
    path: P,
    etag: string,
    ...[options]: Arguments<GetOptions<P>>
  ): Promise<Result<Data<P, "get"> | null, CodeOf<P, "get">>> {
    const request: Request = options ?? {};
    const headers = { ...request.headers, "If-None-Match": etag };
    return this.#send("get", path, { ...request, headers });
  }

  /** Returns the section or item at a path of the site, or the path to which it was moved. */
  resolve(
    path: string,
    options: CallOptions & { query?: Omit<Query<"/resolve">, "path"> } = {},
  ): Answer<"/resolve", "get"> {
    return this.#send("get", "/resolve", { ...options, query: { ...options.query, path } });
  }

  /** Returns a page of a list, whose items have the members that `view` and `fields` select. */
  list<P extends PlainPagedPath>(path: P): Promise<Result<Page<P>, CodeOf<P, "get">>>;
  list<P extends PagedPath, V extends ViewOf<P> = never, F extends FieldOf<P> = never>(
    path: P,
    options: ListOptions<P, V, F>,
  ): Promise<Result<Page<P, V, F>, CodeOf<P, "get">>>;
  list(path: PagedPath, options?: Request): Promise<Result<unknown>> {
    return this.#send("get", path, options);
  }

  /** Iterates over the pages of a list, from the page that `options` name. Throws the error of a page. */
  pages<P extends PlainPagedPath>(path: P): AsyncGenerator<Page<P>, void, void>;
  pages<P extends PagedPath, V extends ViewOf<P> = never, F extends FieldOf<P> = never>(
    path: P,
    options: ListOptions<P, V, F>,
  ): AsyncGenerator<Page<P, V, F>, void, void>;
  async *pages(path: PagedPath, options: Request = {}): AsyncGenerator<unknown, void, void> {
    let request = options;
    for (;;) {
      const page = unwrap(await this.#send<{ next_cursor: string | null }>("get", path, request));
      yield page;
      if (page.next_cursor === null) return;
      // `offset` is for the first page only.
      const query = { ...options.query, offset: undefined, cursor: page.next_cursor };
      request = { ...options, query };
    }
  }

  /** Iterates over the items of a list, page by page. Throws the error of a page. */
  items<P extends PlainPagedPath>(path: P): AsyncGenerator<ItemOf<P>, void, void>;
  items<P extends PagedPath, V extends ViewOf<P> = never, F extends FieldOf<P> = never>(
    path: P,
    options: ListOptions<P, V, F>,
  ): AsyncGenerator<ItemOf<P, V, F>, void, void>;
  async *items(path: PlainPagedPath, options: object = {}): AsyncGenerator<unknown, void, void> {
    for await (const page of this.pages(path, options)) yield* page.items;
  }

  /**
   * Reads, changes and writes. If the value was changed by others in between, the result is the
   * error `precondition_failed`, unless `attempts` allows to read and change it again.
   */
  async edit<P extends EditablePath, B extends Exactly<PatchOf<P>, B>>(
    path: P,
    options: Omit<GetOptions<P>, "headers"> & EditOptions,
    change: (current: Data<P, "get">) => B | Promise<B>,
  ): Promise<Result<Data<P, "patch">, CodeOf<P, "get"> | CodeOf<P, "patch">>> {
    type Edited = Result<Data<P, "patch">, CodeOf<P, "get"> | CodeOf<P, "patch">>;
    const { attempts = 1, query, ...request } = options as Request & EditOptions;
    for (let left = attempts; ; left -= 1) {
      const init = { ...request.init, cache: "no-store" as const };
      const current = await this.#send<Data<P, "get">>("get", path, { ...request, query, init });
      if (!current.ok) return current as Edited;
      if (current.etag === null) {
        const message = `The answer of ${path} has no ETag. A proxy or CORS has removed it.`;
        const error = new UnreadableAnswerError(message, current.status, "");
        return { ok: false, error };
      }
      const headers = { "If-Match": current.etag };
      const body = await change(current.data);
      const written = await this.#send<Data<P, "patch">, "precondition_failed">("patch", path, {
        ...request,
        headers,
        body,
      });
      const isConflict = !written.ok && written.error.code === "precondition_failed";
      if (!isConflict || left <= 1) return written as Edited;
    }
  }

  /** Uploads pictures and videos: all of them, or none. */
  upload(files: Iterable<UploadFile>, options?: UploadOptions) {
    return upload(this.#options, files, options);
  }

  /**
   * Iterates over the changes of the site as they happen, without an end. Broken connections are replaced,
   * and nothing is missed in between.
   */
  changes(options: ChangesOptions = {}): AsyncGenerator<Change, void, void> {
    return changes(this.#options, options);
  }

  #send<T, C extends ErrorCode = never>(
    method: Method,
    path: string,
    request?: Request,
  ): Promise<Result<T, C>> {
    // The types of the routes describe the answer.
    return send(this.#options, method, path, request) as Promise<Result<T, C>>;
  }
}

/** Returns `true` if an answer of `/resolve` is about content of a type, which determines its `content`. */
export function isAbout<T extends ContentType, R extends Resolution>(
  resolution: R,
  contentType: T,
): resolution is R & ResolutionOf<T, R> {
  return resolution.kind !== "moved" && resolution.section.content_type === contentType;
}
