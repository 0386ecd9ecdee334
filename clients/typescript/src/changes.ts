// `/changes` as an endless iterator: server-sent events with reconnection.

import { ApiError, NetworkError } from "./errors.js";
import {
  type ClientOptions,
  backoffMs,
  baseOf,
  interruption,
  pause,
  queryOf,
  read,
} from "./request.js";
import type { Change, Kind } from "./types.js";

/** The gateway sends something every 10 s. */
const DEFAULT_IDLE_MS = 30_000;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
/** Statuses of answers that do not change by waiting. */
const isFinal = (status: number) => status < 500 && ![408, 429].includes(status);

export interface ChangesOptions {
  /** The cursor of the last change that the caller knows. Without it: from now on. */
  cursor?: string;
  /** The kinds of which changes are told. The default is all. */
  kinds?: readonly Kind[];
  /** Ends the iteration, without an error. */
  signal?: AbortSignal;
  /** Called before each new connection, with the error that ended the last one. */
  onReconnect?: (error: Error, pauseMs: number) => void;
  /** The time without any byte after which the connection counts as broken. The default is 30 s. */
  idleMs?: number;
}

/** An event as it arrived: `data` is empty if only the position has changed. */
interface ServerEvent {
  id: string | null;
  data: string;
  retryMs: number | null;
}

/** Parses server-sent events (HTML Standard, "Interpreting an event stream"). */
export async function* parseEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  let event: ServerEvent = { id: null, data: "", retryMs: null };
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    // A `\r` at the end may be the first half of a `\r\n`.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop()!;
    for (const line of lines) {
      if (line === "") {
        if (event.id !== null || event.data !== "" || event.retryMs !== null) yield event;
        event = { id: null, data: "", retryMs: null };
        continue;
      }
      const [, name, value] = line.match(/^([^:]*)(?:: ?(.*))?$/s)!;
      if (name === "data") event.data += event.data === "" ? (value ?? "") : `\n${value ?? ""}`;
      if (name === "id" && !value?.includes("\0")) event.id = value ?? "";
      if (name === "retry" && /^\d+$/.test(value ?? "")) event.retryMs = Number(value);
    }
  }
}

/** Calls a function if a promise takes too long. */
async function watched<T>(promise: Promise<T>, tooLate: () => void, idleMs: number): Promise<T> {
  const timer = setTimeout(tooLate, idleMs);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

/** Reads a body. The time that the caller takes for a chunk does not count as idle. */
async function* chunksOf(body: ReadableStream<Uint8Array>, idle: () => void, idleMs: number) {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await watched(reader.read(), idle, idleMs);
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/**
 * Iterates over the changes of the site, as they happen. A connection that ends is replaced by another
 * one, which continues after the last change; the pause grows while that fails. It throws the errors
 * that waiting does not change, such as a wrong cursor.
 */
export async function* changes(
  client: ClientOptions,
  { cursor = "", kinds = [], signal, onReconnect, idleMs = DEFAULT_IDLE_MS }: ChangesOptions,
): AsyncGenerator<Change, void, void> {
  const kind = kinds.length === 0 ? undefined : kinds;
  let position = cursor;
  let failures = 0;
  let firstPauseMs = FIRST_PAUSE_MS;
  while (!signal?.aborted) {
    const ended = new AbortController();
    const either = signal ? AbortSignal.any([signal, ended.signal]) : ended.signal;
    let error: Error;
    let least = 0;
    try {
      const headers = { Accept: "text/event-stream" };
      const address = `${baseOf(client)}/changes${queryOf({ cursor: position, kind })}`;
      const idle = () => ended.abort();
      const request = { headers, cache: "no-store" as const, signal: either };
      const answer = await watched((client.fetch ?? fetch)(address, request), idle, idleMs);
      const isStream = answer.headers.get("content-type")?.startsWith("text/event-stream");
      if (!answer.ok || !isStream || !answer.body) {
        const result = await read(answer, "/changes");
        error = result.ok ? new NetworkError("A proxy has answered without a stream of events.") : result.error;
        if (!answer.ok && isFinal(answer.status)) throw new FinalError(error);
        if (error instanceof ApiError) least = (error.retryAfterSeconds ?? 0) * 1000;
      } else {
        for await (const event of parseEvents(chunksOf(answer.body, idle, idleMs))) {
          if (event.retryMs !== null) firstPauseMs = event.retryMs;
          if (event.data !== "") yield JSON.parse(event.data) as Change;
          if (event.id !== null) {
            position = event.id;
            failures = 0;
          }
        }
        error = new NetworkError("The gateway has ended the stream of events.");
      }
    } catch (cause) {
      if (cause instanceof FinalError) throw cause.error;
      error = interruption("GET /changes", cause, { deadline: ended.signal });
    } finally {
      ended.abort();
    }
    if (signal?.aborted) return;
    const wait = Math.max(least, backoffMs(failures, firstPauseMs, MAX_PAUSE_MS));
    failures += 1;
    onReconnect?.(error, wait);
    await pause(wait, signal);
  }
}

/** An error after which a new connection is of no use. */
class FinalError {
  constructor(readonly error: Error) {}
}
