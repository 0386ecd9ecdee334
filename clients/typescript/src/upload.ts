// Uploads with progress: by XMLHttpRequest in browsers, by a counted stream elsewhere.

import { NetworkError, type Result } from "./errors.js";
import { type ClientOptions, authorization, baseOf, interruption, read } from "./request.js";
import type { CodeOf, Schemas } from "./types.js";

export type Uploaded = Schemas["Uploaded"];

export interface UploadProgress {
  /** The number of bytes that were sent. */
  sent: number;
  /** The number of bytes of all files, or of the whole body. */
  total: number;
}

export interface UploadOptions {
  /** Called while bytes are sent, and once at the end. */
  onProgress?: (progress: UploadProgress) => void;
  /** Ends the upload: the result is the error `aborted`. */
  signal?: AbortSignal;
  /** The longest time for the upload. There is no limit unless it is given. */
  timeoutMs?: number;
}

/** A file, or bytes that have no name. */
export type UploadFile = Blob;

type UploadResult = Result<Uploaded, CodeOf<"/uploads", "post">>;

const TEMPLATE = "/uploads";

function formOf(files: Iterable<UploadFile>): FormData {
  const form = new FormData();
  for (const file of files) form.append("files", file);
  return form;
}

/** Sends the form by XMLHttpRequest, which alone tells the progress in browsers. */
function sendByXhr(
  address: string,
  headers: Record<string, string>,
  form: FormData,
  { onProgress, signal }: UploadOptions,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open("POST", address);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress?.({ sent: loaded, total });
    request.onload = () => {
      const lines = request.getAllResponseHeaders().trim().split(/\r?\n/);
      const pairs = lines.map((line) => line.split(/:\s*(.*)/s, 2) as [string, string]);
      // Some statuses permit no body.
      resolve(new Response(request.responseText || null, { status: request.status, headers: pairs }));
    };
    request.onerror = () => reject(new NetworkError("The connection broke."));
    request.onabort = request.onerror;
    request.onloadend = () => signal?.removeEventListener("abort", abort);
    signal?.addEventListener("abort", abort);
    request.send(form);
  });
}

/** Returns the body of a form, which counts the bytes that are read from it. */
function counted(form: FormData, total: number, onProgress: (progress: UploadProgress) => void) {
  const encoded = new Response(form);
  let sent = 0;
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      // The body is somewhat longer than the files.
      sent = Math.min(sent + chunk.byteLength, total);
      onProgress({ sent, total });
      controller.enqueue(chunk);
    },
  });
  const type = encoded.headers.get("content-type")!;
  return { body: encoded.body!.pipeThrough(counter), type };
}

/** Uploads files: all of them are stored, or none. It is never repeated: a second upload is a second file. */
export async function upload(
  client: ClientOptions,
  files: Iterable<UploadFile>,
  options: UploadOptions = {},
): Promise<UploadResult> {
  const { onProgress, signal, timeoutMs } = options;
  const all = [...files];
  const total = all.reduce((sum, file) => sum + file.size, 0);
  const form = formOf(all);
  const address = baseOf(client) + TEMPLATE;
  const headers: Record<string, string> = {
    Accept: "application/json",
    ...(await authorization(client)),
  };
  const deadline = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
  const signals = [signal, deadline].filter((signal) => signal !== undefined);
  try {
    let answer: Response;
    if (onProgress && typeof XMLHttpRequest !== "undefined") {
      signal?.throwIfAborted();
      answer = await sendByXhr(address, headers, form, { ...options, signal: AbortSignal.any(signals) });
    } else {
      let body: BodyInit = form;
      if (onProgress) {
        const stream = counted(form, total, onProgress);
        headers["Content-Type"] = stream.type;
        body = stream.body;
      }
      answer = await (client.fetch ?? fetch)(address, {
        method: "POST",
        headers,
        body,
        // Streams are sent while the answer is not read yet.
        ...({ duplex: "half" } as object),
        signal: AbortSignal.any(signals),
      });
    }
    return (await read(answer, TEMPLATE)) as UploadResult;
  } catch (cause) {
    const error = interruption(`POST ${TEMPLATE}`, cause, { caller: signal, deadline });
    return { ok: false, error } as UploadResult;
  }
}
