//! The errors that the description names for each group of routes.

use service_kit::error_responses;

error_responses! {
    /// The errors of the changes of the site.
    ChangesErrors = ValidationFailed;
    /// The errors of the routes for other services and operators.
    InternalErrors = Unauthorized | Forbidden | ValidationFailed | AuthUnavailable;
    /// The errors of a list.
    ListErrors = Unauthorized | Forbidden | NotFound | ValidationFailed | UpstreamUnavailable
        | AuthUnavailable;
    /// The errors of making a preview link.
    PreviewErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | NotFound | Conflict
        | PayloadTooLarge | UnsupportedMediaType | ValidationFailed | UnreadableDocument
        | AuthUnavailable;
    /// The errors of the tags.
    TagErrors = Unauthorized | Forbidden | ValidationFailed | UpstreamUnavailable | AuthUnavailable;
    /// The errors of reading an item by its id.
    ReadErrors = InvalidId | Unauthorized | Forbidden | NotFound | ValidationFailed
        | UnreadableDocument | AuthUnavailable;
    /// The errors of look-ups that find drafts for callers with a token.
    AddressErrors = Unauthorized | Forbidden | NotFound | ValidationFailed | UnreadableDocument
        | UpstreamUnavailable | AuthUnavailable;
    /// The errors of public look-ups.
    LookUpErrors = NotFound | ValidationFailed | UnreadableDocument | UpstreamUnavailable;
    /// The errors of adding an item.
    CreateErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | SlugTaken
        | PayloadTooLarge | UnsupportedMediaType | IdempotencyKeyReused | ValidationFailed
        | UpstreamUnavailable | AuthUnavailable;
    /// The errors of changing an item.
    ChangeErrors = InvalidId | MalformedJson | BadRequest | Unauthorized | Forbidden | NotFound
        | SlugTaken | PreconditionFailed | PayloadTooLarge | UnsupportedMediaType | ValidationFailed
        | PreconditionRequired | UnreadableDocument | UpstreamUnavailable | AuthUnavailable;
    /// The errors of deleting an item.
    DeleteErrors = InvalidId | Unauthorized | Forbidden | NotFound | PreconditionFailed
        | ValidationFailed | PreconditionRequired | UnreadableDocument | AuthUnavailable;
    /// The errors of publishing an item.
    PublishErrors = InvalidId | Unauthorized | Forbidden | NotFound | SlugTaken | PreconditionFailed
        | DraftOutdated | ValidationFailed | PreconditionRequired | UnreadableDocument
        | UpstreamUnavailable | AuthUnavailable;
    /// The errors of restoring an item.
    RestoreErrors = InvalidId | Unauthorized | Forbidden | NotFound | SlugTaken | ValidationFailed
        | UnreadableDocument | AuthUnavailable;
    /// The errors of reading the revisions of an item.
    RevisionErrors = InvalidId | Unauthorized | Forbidden | NotFound | ValidationFailed
        | UnreadableDocument | AuthUnavailable;
    /// The errors of restoring a revision.
    RevertErrors = InvalidId | Unauthorized | Forbidden | NotFound | SlugTaken | PreconditionFailed
        | ValidationFailed | PreconditionRequired | UnreadableDocument | UpstreamUnavailable
        | AuthUnavailable;
    /// The errors of the list of the trash.
    TrashListErrors = Unauthorized | Forbidden | ValidationFailed | AuthUnavailable | NotReady;
    /// The errors of deleting an item for good.
    TrashDeleteErrors = InvalidId | Unauthorized | Forbidden | NotFound | Conflict
        | PreconditionFailed | ValidationFailed | PreconditionRequired | UnreadableDocument
        | AuthUnavailable;
    /// The errors of reading webhooks and their deliveries.
    WebhookReadErrors = InvalidId | Unauthorized | Forbidden | NotFound | ValidationFailed
        | AuthUnavailable;
    /// The errors of adding a webhook.
    WebhookCreateErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | Conflict
        | PayloadTooLarge | UnsupportedMediaType | ValidationFailed | AuthUnavailable;
    /// The errors of changing a webhook.
    WebhookChangeErrors = InvalidId | MalformedJson | BadRequest | Unauthorized | Forbidden
        | NotFound | PayloadTooLarge | UnsupportedMediaType | ValidationFailed | AuthUnavailable;
    /// The errors of deleting and testing a webhook, and of sending a message again.
    WebhookActionErrors = InvalidId | Unauthorized | Forbidden | NotFound | ValidationFailed
        | AuthUnavailable;
    /// The errors of reading redirects.
    RedirectReadErrors = Unauthorized | Forbidden | ValidationFailed | UpstreamUnavailable
        | AuthUnavailable;
    /// The errors of adding a redirect.
    RedirectCreateErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | Conflict
        | PayloadTooLarge | UnsupportedMediaType | ValidationFailed | UpstreamUnavailable
        | AuthUnavailable;
    /// The errors of deleting a redirect.
    RedirectDeleteErrors = Unauthorized | Forbidden | NotFound | ValidationFailed | AuthUnavailable;
    /// The errors of reading the facts of the site.
    SiteReadErrors = ValidationFailed;
    /// The errors of changing the facts of the site.
    SiteChangeErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | PreconditionFailed
        | PayloadTooLarge | UnsupportedMediaType | ValidationFailed | PreconditionRequired
        | AuthUnavailable;
    /// The errors of sitemaps and feeds.
    AddressesErrors = NotFound | ValidationFailed | UpstreamUnavailable | Overloaded;
    /// The errors of a search.
    SearchErrors = Unauthorized | Forbidden | NotFound | ValidationFailed | UpstreamUnavailable
        | AuthUnavailable | Overloaded | NotReady;
    /// The errors of moving items.
    MoveErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | SlugTaken
        | PayloadTooLarge | UnsupportedMediaType | ValidationFailed | UpstreamUnavailable | AuthUnavailable;
}
