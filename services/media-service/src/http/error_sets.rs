//! The errors that each route can answer, for the OpenAPI document.

use service_kit::error_responses;

error_responses! {
    /// The errors of an upload.
    UploadErrors = BadRequest | Unauthorized | Forbidden | PayloadTooLarge | UnsupportedMediaType
        | ValidationFailed | AuthUnavailable;
    /// The errors of reading a file.
    FileErrors = NotFound | ValidationFailed;
    /// The errors of the list.
    ListErrors = Unauthorized | Forbidden | ValidationFailed | UpstreamUnavailable
        | AuthUnavailable;
    /// The errors of reading what is known about a file.
    ReadErrors = InvalidId | Unauthorized | Forbidden | NotFound | ValidationFailed
        | UpstreamUnavailable | AuthUnavailable;
    /// The errors of changing it.
    PatchErrors = InvalidId | MalformedJson | BadRequest | Unauthorized | Forbidden | NotFound
        | Conflict | PreconditionFailed | PayloadTooLarge | UnsupportedMediaType | ValidationFailed
        | PreconditionRequired | UpstreamUnavailable | AuthUnavailable;
    /// The errors of deleting a file.
    DeleteErrors = InvalidId | Unauthorized | Forbidden | NotFound | Conflict | PreconditionFailed
        | ValidationFailed | PreconditionRequired | UpstreamUnavailable | AuthUnavailable;
}
