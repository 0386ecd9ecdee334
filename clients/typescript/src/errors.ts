// The errors of requests: a union that `code` tells apart.

import type { ErrorCode, Schemas } from "./types.js";

export type Problem = Schemas["Problem"];

/** An error that the API has answered. `code` is its stable name. */
export class ApiError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = "ApiError";
  readonly code: C;

  constructor(
    /** The body of the answer. `errors` has the wrong fields if the code is `validation_failed`. */
    readonly problem: Problem & { code: C },
    /** The number of seconds after which the request can succeed, if the answer says so. */
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(problem.detail);
    this.code = problem.code;
  }
}

/** There is no answer, or only a part of one: the connection failed. A write may have been done. */
export class NetworkError extends Error {
  override readonly name = "NetworkError";
  readonly code = "network_failed";
}

/** The answer did not arrive in time. A write may have been done. */
export class TimeoutError extends Error {
  override readonly name = "TimeoutError";
  readonly code = "timed_out";
}

/** The signal of the caller has ended the request. A write may have been done. */
export class AbortedError extends Error {
  override readonly name = "AbortedError";
  readonly code = "aborted";
}

/** The answer is not one of the API: of a proxy, for example, or of another server. */
export class UnreadableAnswerError extends Error {
  override readonly name = "UnreadableAnswerError";
  readonly code = "unreadable_answer";

  constructor(
    message: string,
    readonly status: number,
    /** The beginning of the answer. */
    readonly excerpt: string,
  ) {
    super(message);
  }
}

/** An error for each code, so that a comparison of `code` determines the type. */
type ApiErrors<C extends ErrorCode> = C extends ErrorCode ? ApiError<C> : never;

/** The errors of requests that never come from the API. */
export type TransportError = NetworkError | TimeoutError | AbortedError | UnreadableAnswerError;

/** The errors of a request whose answers can have the codes `C`. */
export type RequestError<C extends ErrorCode = ErrorCode> = ApiErrors<C> | TransportError;

/** The result of a request. Requests throw nothing: `ok` tells data from errors. */
export type Result<T, C extends ErrorCode = ErrorCode> = Success<T> | Failure<C>;

export interface Success<T> {
  readonly ok: true;
  readonly data: T;
  /** The version of the data, for `If-Match` and `getIfModified`. */
  readonly etag: string | null;
  readonly status: number;
  readonly headers: Headers;
}

export interface Failure<C extends ErrorCode = ErrorCode> {
  readonly ok: false;
  readonly error: RequestError<C>;
}

/** Returns the data of a result, or throws its error. */
export function unwrap<T>(result: Success<T> | Failure): T {
  if (!result.ok) throw result.error;
  return result.data;
}
