//! The messages that tell targets of changes.

use chrono::{DateTime, SecondsFormat, Utc};
use models::PublicChange;
use mongodb::bson::oid::ObjectId;
use serde_json::{Value, json};

use crate::{domain::webhook::TEST_MESSAGE, store::deliveries::Message};

/// The first part of the type of a message about a change of any kind.
const ANYTHING: &str = "site";

/// The members of a change that a message has elsewhere, or that only a reader of the feed needs.
const NOT_IN_DATA: [&str; 2] = ["cursor", "time"];

/// Returns the message about a change.
pub(super) fn message_of(change: &PublicChange) -> Message {
    let kind = change.kind.map_or(ANYTHING, |kind| kind.as_str());
    let message_type = format!("{kind}.{}", change.event.as_str());
    let item = match (&change.id, &change.section_id) {
        (Some(id), _) => format!("{kind}/{id}"),
        (None, Some(section)) => format!("{kind}/of/{section}"),
        (None, None) => kind.to_owned(),
    };
    let mut data = json!(change);
    if let Value::Object(members) = &mut data {
        members.retain(|name, _| !NOT_IN_DATA.contains(&name.as_str()));
    }
    let body = body(&message_type, change.time, &data);
    Message { id: message_id(), item, message_type, body }
}

/// Returns a message for a target that a person tests.
pub(crate) fn test_message(webhook: ObjectId, now: DateTime<Utc>) -> Message {
    Message {
        id: message_id(),
        item: TEST_MESSAGE.to_owned(),
        message_type: TEST_MESSAGE.to_owned(),
        body: body(TEST_MESSAGE, now, &json!({ "webhook_id": webhook.to_hex() })),
    }
}

fn body(message_type: &str, time: DateTime<Utc>, data: &Value) -> String {
    let timestamp = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({ "type": message_type, "timestamp": timestamp, "data": data }).to_string()
}

fn message_id() -> String {
    format!("msg_{}", ObjectId::new())
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
    fn each_message_has_its_own_id_and_those_about_an_item_have_the_item_in_common() {
        let (one, later) = (message_of(&change()), message_of(&change()));
        assert_ne!(later.id, one.id);
        assert_eq!(later.item, one.item);
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
