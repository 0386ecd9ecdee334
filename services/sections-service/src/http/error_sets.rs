//! The errors that each route can answer, for the OpenAPI document.

use service_kit::error_responses;

error_responses! {
    /// The errors of a list.
    ListErrors = Unauthorized | Forbidden | ValidationFailed | AuthUnavailable;
    /// The errors of a look-up by slug.
    SlugErrors = Unauthorized | Forbidden | NotFound | ValidationFailed | AuthUnavailable;
    /// The errors of a look-up by id.
    ReadErrors = InvalidId | Unauthorized | Forbidden | NotFound | ValidationFailed
        | UnreadableDocument | AuthUnavailable;
    /// The errors of the entries for the other services.
    EntryErrors = ValidationFailed;
    /// The errors of resolving a path.
    ResolveErrors = NotFound | ValidationFailed;
    /// The errors of adding a section.
    CreateErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | SlugTaken
        | PayloadTooLarge | UnsupportedMediaType | TooDeep | IdempotencyKeyReused
        | ValidationFailed | UpstreamUnavailable | AuthUnavailable;
    /// The errors of changing a section.
    ChangeErrors = InvalidId | MalformedJson | BadRequest | Unauthorized | Forbidden | NotFound
        | SlugTaken | HasContent | Conflict | PreconditionFailed | PayloadTooLarge
        | UnsupportedMediaType | Cycle | TooDeep | ValidationFailed | PreconditionRequired
        | UnreadableDocument | UpstreamUnavailable | AuthUnavailable;
    /// The errors of deleting a section.
    DeleteErrors = InvalidId | Unauthorized | Forbidden | NotFound | SlugTaken | HasChildren | HasContent
        | Conflict | PreconditionFailed | ValidationFailed | PreconditionRequired
        | UnreadableDocument | UpstreamUnavailable | AuthUnavailable;
    /// The errors of restoring a section.
    RestoreErrors = InvalidId | Unauthorized | Forbidden | NotFound | SlugTaken | Conflict
        | TooDeep | ValidationFailed | UnreadableDocument | UpstreamUnavailable | AuthUnavailable;
    /// The errors of reading the revisions of a section.
    RevisionErrors = InvalidId | Unauthorized | Forbidden | NotFound | ValidationFailed
        | UnreadableDocument | AuthUnavailable;
    /// The errors of restoring a revision.
    RevertErrors = InvalidId | Unauthorized | Forbidden | NotFound | SlugTaken | HasContent | Conflict
        | PreconditionFailed | Cycle | TooDeep | ValidationFailed | PreconditionRequired
        | UnreadableDocument | UpstreamUnavailable | AuthUnavailable;
    /// The errors of ordering sections.
    OrderErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | OrderMismatch
        | PayloadTooLarge | UnsupportedMediaType | ValidationFailed | AuthUnavailable;
}
