//! The messages that tell targets of changes.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, Utc};
use models::{ObjectId, PublicChange};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::{domain::webhook::TEST_MESSAGE, store::deliveries::Message};

/// The first part of the type of a message about a change of any kind.
const ANYTHING: &str = "site";

/// The members of a change that a message has elsewhere, or that only a reader of the feed needs.
const NOT_IN_DATA: [&str; 2] = ["cursor", "time"];

/// The number of bytes of the digest in the id of a message: no two changes share one by chance.
const ID_BYTES: usize = 16;

/// Returns the message about a change. The same change has the same id each time, so that it is queued
/// once.
pub(super) fn message_of(change: &PublicChange) -> Message {
    let kind = change.kind.map_or(ANYTHING, |kind| kind.as_str());
    let message_type = format!("{kind}.{}", change.event.as_str());
    let item = match (&change.id, &change.section_id) {
        (Some(id), _) => format!("{kind}/{id}"),
        (None, Some(section)) => format!("{kind}/of/{section}"),
        (None, None) => kind.to_owned(),
    };
    let name = format!("{} {message_type} {item}", change.cursor);
    let mut data = json!(change);
    if let Value::Object(members) = &mut data {
        members.retain(|name, _| !NOT_IN_DATA.contains(&name.as_str()));
    }
    let body = body(&message_type, change.time, &data);
    Message { id: message_id(&name), item, message_type, body }
}

/// Returns a message for a target that a person tests.
pub(crate) fn test_message(webhook: ObjectId, id: ObjectId, now: DateTime<Utc>) -> Message {
    Message {
        id: message_id(&id.to_string()),
        item: TEST_MESSAGE.to_owned(),
        message_type: TEST_MESSAGE.to_owned(),
        body: body(TEST_MESSAGE, now, &json!({ "webhook_id": webhook })),
    }
}

fn body(message_type: &str, time: DateTime<Utc>, data: &Value) -> String {
    let timestamp = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({ "type": message_type, "timestamp": timestamp, "data": data }).to_string()
}

fn message_id(name: &str) -> String {
    let digest = digest(&SHA256, name.as_bytes());
    format!("msg_{}", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..ID_BYTES]))
}

#[cfg(test)]
mod tests {
    use models::{ContentType, PublicEvent, PublicKind};

    use super::*;

    fn change() -> PublicChange {
        PublicChange {
            kind: Some(PublicKind::of(ContentType::Story)),
            event: PublicEvent::Moved,
            id: Some("626e3e0035b0bc65bb5e1545".to_owned()),
            section_id: Some("626e3e0035b0bc65bb5e1546".to_owned()),
            slug: Some("first-light".to_owned()),
            path: Some("/notes/first-light".to_owned()),
            previous_section_id: None,
            previous_slug: None,
            previous_path: Some("/blog/first-light".to_owned()),
            cursor: "7.9".to_owned(),
            time: "2026-05-01T09:30:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_message_tells_of_the_change() {
        let message = message_of(&change());
        assert_eq!(message.item, "stories/626e3e0035b0bc65bb5e1545");
        assert_eq!(message.message_type, "stories.moved");
        let body: Value = serde_json::from_str(&message.body).unwrap();
        let expected = json!({
            "type": "stories.moved",
            "timestamp": "2026-05-01T09:30:00.000Z",
            "data": {
                "kind": "stories",
                "event": "moved",
                "id": "626e3e0035b0bc65bb5e1545",
                "section_id": "626e3e0035b0bc65bb5e1546",
                "slug": "first-light",
                "path": "/notes/first-light",
                "previous_section_id": null,
                "previous_slug": null,
                "previous_path": "/blog/first-light",
            },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_change_has_one_id_and_another_change_another() {
        let one = message_of(&change());
        assert_eq!(message_of(&change()), one);
        let later = PublicChange { cursor: "8.9".to_owned(), ..change() };
        assert_ne!(message_of(&later).id, one.id);
        let other = PublicChange { id: None, event: PublicEvent::Changed, ..change() };
        let other = message_of(&other);
        assert_ne!(other.id, one.id);
        assert_eq!(other.item, "stories/of/626e3e0035b0bc65bb5e1546");
        let anything = PublicChange {
            kind: None,
            id: None,
            section_id: None,
            event: PublicEvent::Changed,
            ..change()
        };
        assert_eq!(message_of(&anything).message_type, "site.changed");
    }
}
