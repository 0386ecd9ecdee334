//! Knowledge of the changes of other services: the way in which an answer that was kept is known to be
//! true.
//!
//! Each service reports its changes on `GET /internal/changes` ([`models::changes`]). A [`KeyClock`]
//! holds what one service has reported (`clock`), and [`listen`] keeps it up to date (`client`, which
//! reads server-sent events with `events`). Answers carry the keys of the content that they depend on
//! and the revisions at which they were computed (`headers`): an answer is true as long as none of its
//! keys has changed after its revision, and the feed is heard.

mod client;
mod clock;
mod events;
mod headers;

pub use self::{
    client::{CHANGES_PATH, LAST_EVENT_ID, listen},
    clock::{Generation, KeyClock, Keys, LEASE, OutOfOrder},
    headers::{REVISIONS, Revisions, SURROGATE_KEY, VALID_MS, key},
};
