// One request: its address, its deadline, its retries, and its answer as a result.

import {
  AbortedError,
  ApiError,
  NetworkError,
  type Problem,
  type RequestError,
  type Result,
  TimeoutError,
  type TransportError,
  UnreadableAnswerError,
} from "./errors.js";
import { MEDIA_TYPES } from "./generated/api.js";
import type { CallOptions, Method } from "./types.js";

/** The gateway answers after 30 s at the latest, with 504. */
const DEFAULT_TIMEOUT_MS = 35_000;
const DEFAULT_RETRIES = 2;
const FIRST_PAUSE_MS = 200;
const MAX_EXCERPT_CHARACTERS = 500;
/** The statuses of answers that can be others at the next attempt. */
const TEMPORARY = [429, 502, 503, 504];

export interface ClientOptions {
  /** The address of the gateway, such as `http://127.0.0.1:5001`; or a path such as `/api` in a browser. */
  url: string;
  /** The token of the caller, or a function that returns it, for tokens that expire. */
  token?: string | (() => string | undefined | Promise<string | undefined>);
  /** The longest time for a request with its retries. The default is 35 s. */
  timeoutMs?: number;
  /** How often a read is repeated after a temporary failure. The default is 2; writes never are. */
  retries?: number;
  /** Options of `fetch` for all reads, such as `cache` or `next` of Next.js. */
  init?: RequestInit;
  /** The function that sends requests. The default is the global `fetch`. */
  fetch?: typeof fetch;
}

export interface Request extends CallOptions {
  path?: object | undefined;
  query?: object | undefined;
  headers?: object | undefined;
  body?: unknown;
}

type Outcome = Result<unknown>;

/** Makes the result of an error. Its code is any of those that the route can answer. */
const failure = (error: ApiError | TransportError): Outcome => {
  return { ok: false, error: error as RequestError };
};

/** Returns the path of a route with its parameters, or `null` if it would be another route's. */
export function pathOf(template: string, parameters: object = {}): string | null {
  let isValid = true;
  const path = template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = String((parameters as Record<string, unknown>)[name] ?? "");
    // The parameter `path` consists of segments.
    const segments = name === "path" ? value.split("/") : [value];
    // Such segments disappear when an address is parsed.
    if (segments.some((segment) => ["", ".", ".."].includes(segment))) isValid = false;
    return segments.map(encodeURIComponent).join("/");
  });
  return isValid ? path : null;
}

/** Returns the query of an address. Lists are joined with commas, and absent values are left out. */
export function queryOf(parameters: object = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) query.set(name, String(value));
  }
  return query.size === 0 ? "" : `?${query}`;
}

/** Returns the address of the gateway without a slash at its end. */
export const baseOf = ({ url }: ClientOptions): string => url.replace(/\/+$/, "");

/** Returns the header with the token of the caller, if there is one. */
export async function authorization({ token }: ClientOptions): Promise<Record<string, string>> {
  const value = typeof token === "function" ? await token() : token;
  return value === undefined ? {} : { Authorization: `Bearer ${value}` };
}

/** Waits. Returns early if the signal ends the wait. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal?.aborted) return done();
    const finish = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", finish);
      done();
    };
    const timer = setTimeout(finish, milliseconds);
    signal?.addEventListener("abort", finish);
  });
}

/** Returns the pause before an attempt: it doubles, and half of it is random. */
export const backoffMs = (attempt: number, first: number, most: number): number =>
  Math.min(first * 2 ** attempt, most) * (0.5 + Math.random() / 2);

/** Returns the number of seconds that `Retry-After` names. */
function retryAfter(headers: Headers): number | null {
  const value = headers.get("retry-after");
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}

const isJson = (type: string) => /^application\/([\w.+-]+\+)?json$/.test(type);

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const isProblem = (value: unknown): value is Problem =>
  typeof value === "object" && value !== null && "code" in value && typeof value.code === "string";

/** Returns the result that an answer is. */
export async function read(answer: Response, template: string): Promise<Outcome> {
  const { status, headers } = answer;
  const type = (headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
  const success = (data: unknown): Outcome => {
    return { ok: true, data, etag: headers.get("etag"), status, headers };
  };
  if (status === 304) return success(null);
  const expected = MEDIA_TYPES[template] ?? ["application/json"];
  if (answer.ok && expected.includes("application/octet-stream")) return success(await answer.blob());
  const text = await answer.text();
  const unreadable = (reason: string) => {
    const message = `The answer of ${template} with status ${status} ${reason}.`;
    const excerpt = text.slice(0, MAX_EXCERPT_CHARACTERS);
    return failure(new UnreadableAnswerError(message, status, excerpt));
  };
  const value = isJson(type) ? parse(text) : undefined;
  if (!answer.ok) {
    if (isProblem(value)) return failure(new ApiError(value, retryAfter(headers)));
    return unreadable("is not an error of the API");
  }
  if (status === 204) return success(undefined);
  if (!expected.includes(type)) return unreadable(`has the type ${type || "of nothing"}`);
  if (!isJson(type)) return success(text);
  return value === undefined ? unreadable("is not JSON") : success(value);
}

const isTemporary = (error: RequestError): boolean =>
  error instanceof NetworkError ||
  (error instanceof ApiError && TEMPORARY.includes(error.problem.status)) ||
  (error instanceof UnreadableAnswerError && TEMPORARY.includes(error.status));

/** Returns the error of a request that has no answer, by the signal that has ended it. */
export function interruption(
  what: string,
  cause: unknown,
  { caller, deadline }: { caller?: AbortSignal | undefined; deadline?: AbortSignal | undefined },
): TransportError {
  if (caller?.aborted) return new AbortedError(`${what} was ended by the caller.`, { cause });
  if (deadline?.aborted) return new TimeoutError(`${what} was not answered in time.`, { cause });
  return new NetworkError(`${what} failed: the connection broke or was refused.`, { cause });
}

/** Sends a request, and returns its result. Reads are repeated after temporary failures. */
export async function send(
  client: ClientOptions,
  method: Method,
  template: string,
  request: Request = {},
): Promise<Outcome> {
  const what = `${method.toUpperCase()} ${template}`;
  const path = pathOf(template, request.path);
  if (path === null) {
    const detail = `${what}: a parameter of the path is empty, \`.\` or \`..\`.`;
    const type = "urn:turbulence:error:invalid_path";
    const problem = { type, title: "Invalid path", status: 400, detail, code: "invalid_path" } as const;
    return failure(new ApiError({ ...problem, errors: [] }));
  }
  const address = baseOf(client) + path + queryOf(request.query);
  const caller = request.signal;
  const timeoutMs = request.timeoutMs ?? client.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const deadline = AbortSignal.timeout(timeoutMs);
  const began = Date.now();
  const isRead = method === "get";
  const init = {
    ...client.init,
    // What is kept of reads has no meaning for writes.
    ...(isRead ? {} : { cache: "no-store" as const }),
    ...request.init,
  };

  const attempt = async (): Promise<Outcome> => {
    // Errors of the caller, such as a header with a line break, are thrown.
    const headers = new Headers(init.headers);
    const accept = template in MEDIA_TYPES ? "*/*" : "application/json";
    const given = { Accept: accept, ...(await authorization(client)), ...request.headers };
    for (const [name, value] of Object.entries(given)) headers.set(name, String(value));
    const body = request.body === undefined ? {} : { body: JSON.stringify(request.body) };
    if (body.body !== undefined) headers.set("Content-Type", "application/json");
    const signal = caller ? AbortSignal.any([caller, deadline]) : deadline;
    try {
      const options = { ...init, method: method.toUpperCase(), headers, ...body, signal };
      return await read(await (client.fetch ?? fetch)(address, options), template);
    } catch (cause) {
      return failure(interruption(what, cause, { caller, deadline }));
    }
  };

  const retries = isRead ? (client.retries ?? DEFAULT_RETRIES) : 0;
  for (let tried = 0; ; tried += 1) {
    const result = await attempt();
    if (result.ok || tried >= retries || !isTemporary(result.error)) return result;
    const asked = result.error instanceof ApiError ? (result.error.retryAfterSeconds ?? 0) * 1000 : 0;
    const wait = Math.max(asked, backoffMs(tried, FIRST_PAUSE_MS, timeoutMs));
    // There would be no time left for another attempt.
    if (Date.now() - began + wait >= timeoutMs) return result;
    await pause(wait, caller);
    if (caller?.aborted) return failure(interruption(what, caller.reason, { caller }));
  }
}
