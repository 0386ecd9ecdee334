export { Client, isAbout, type EditOptions } from "./client.js";
export type { ChangesOptions } from "./changes.js";
export {
  AbortedError,
  ApiError,
  NetworkError,
  TimeoutError,
  UnreadableAnswerError,
  unwrap,
  type Failure,
  type Problem,
  type RequestError,
  type Result,
  type Success,
  type TransportError,
} from "./errors.js";
export type { components, operations, paths } from "./generated/api.js";
export type { ClientOptions } from "./request.js";
export type {
  CallOptions,
  Change,
  CodeOf,
  ContentPath,
  ContentType,
  Data,
  EditablePath,
  ErrorCode,
  ItemOf,
  Kind,
  Page,
  PagedPath,
  Resolution,
  ResolutionOf,
  Schemas,
} from "./types.js";
export type { UploadFile, UploadOptions, UploadProgress, Uploaded } from "./upload.js";
export { verifyWebhook, type ChangeMessage, type TestMessage, type WebhookMessage } from "./webhooks.js";
