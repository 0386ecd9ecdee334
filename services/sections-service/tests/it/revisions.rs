//! The earlier states of sections.

use mongodb::bson::{RawDocumentBuf, doc, oid::ObjectId, rawdoc};
use serde_json::{Value, json};
use test_support::{Answer, TestDatabase};

use crate::support::{Api, Neighbour};

/// The number and the kind of each change of a page of the list.
fn changes(list: &Answer) -> Vec<(i64, String)> {
    assert_eq!(list.status, 200, "{list:?}");
    let items = list.body["items"].as_array().unwrap().iter();
    let change =
        |one: &Value| (one["number"].as_i64().unwrap(), one["action"].as_str().unwrap().to_owned());
    items.map(change).collect()
}

fn expected(all: &[(i64, &str)]) -> Vec<(i64, String)> {
    all.iter().map(|(number, action)| (*number, (*action).to_owned())).collect()
}

async fn raw(database: &TestDatabase, id: &str) -> RawDocumentBuf {
    let sections = database.database().collection::<RawDocumentBuf>("sections");
    let id = ObjectId::parse_str(id).unwrap();
    sections.find_one(doc! { "_id": id }).await.unwrap().unwrap()
}

#[tokio::test]
async fn each_change_of_a_section_keeps_it_as_it_was_and_can_be_undone() {
    let database = TestDatabase::new().await;
    // Fields of another program, and a number of another type.
    let odd = ObjectId::new();
    let document = rawdoc! {
        "theirs": { "a": [1, null] }, "_id": odd, "title": "Notes", "slug": "notes", "sort_order": 5.0,
        "content_type": "story", "display_type": "feed", "is_published": true, "is_deleted": false,
    };
    let sections = database.database().collection::<RawDocumentBuf>("sections");
    sections.insert_one(&document).await.unwrap();
    let neighbour = Neighbour::start();
    let api = Api::start(&database, &neighbour).await;
    let above = api.add("Above", None).await.id();
    let path = format!("/sections/{}", odd.to_hex());
    let revisions = format!("{path}/revisions");
    assert_eq!(changes(&api.get(&revisions).await), []);
    let before = raw(&database, &odd.to_hex()).await;

    let patch =
        json!({ "title": "Remarks", "slug": "remarks", "parent_id": above, "sort_by": "title" });
    assert_eq!(api.call("PATCH", &path, patch.clone()).await.status, 200);
    assert_eq!(api.call("PATCH", &path, patch).await.status, 200, "which changes nothing");
    assert_eq!(api.call("PATCH", &path, json!({ "is_published": false })).await.status, 200);
    let order = json!({ "parent_id": above, "ids": [odd.to_hex()] });
    assert_eq!(api.call("PUT", "/sections/order", order).await.status, 200);
    assert_eq!(api.call("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(api.get(&revisions).await.code(), (404, "not_found"));
    assert_eq!(api.call("POST", &format!("{path}/restore"), Value::Null).await.status, 200);
    let list = api.get(&revisions).await;
    let all = [(4, "restored"), (3, "deleted"), (2, "changed"), (1, "changed")];
    assert_eq!(changes(&list), expected(&all));
    assert_eq!(list.body["items"][2]["fields"], json!(["is_published"]));
    assert_eq!(list.header("cache-control"), "private, no-store");
    let page = api.get(&format!("{revisions}?limit=1&cursor=4")).await;
    assert_eq!((changes(&page), &page.body["next_cursor"]), (expected(&all[1..2]), &"3".into()));

    let view = api.get(&format!("{revisions}/1")).await;
    assert_eq!(view.body["item"]["title"], "Notes", "{view:?}");
    let title = view.body["changes"].as_array().unwrap().iter().find(|one| one["field"] == "title");
    let parts =
        json!([{ "type": "removed", "text": "Notes" }, { "type": "added", "text": "Remarks" }]);
    assert_eq!(title.unwrap()["parts"], parts);

    // A draft stays one, in its place.
    let stale = [("if-match", "\"stale\"")];
    let restore = format!("{revisions}/1/restore");
    assert_eq!(api.send("POST", &restore, &stale, None).await.code(), (412, "precondition_failed"));
    let restored = api.call("POST", &restore, Value::Null).await;
    assert_eq!(restored.status, 200, "{restored:?}");
    let members = ["title", "slug", "parent_id", "sort_by", "is_published"];
    let present = members.map(|member| restored.body[member].clone());
    assert_eq!(present, [json!("Notes"), json!("notes"), Value::Null, Value::Null, json!(false)]);
    let moved = api.resolve("/above/remarks").await;
    assert_eq!(moved["moved_to"], Value::Null, "a draft is not resolved: {moved}");
    assert_eq!(api.call("PATCH", &path, json!({ "is_published": true })).await.status, 200);
    assert_eq!(api.resolve("/above/remarks").await["moved_to"], "/notes");
    let after = raw(&database, &odd.to_hex()).await;
    for field in ["theirs", "_id", "title", "slug", "content_type", "display_type", "is_published"]
    {
        assert_eq!(after.get(field).unwrap(), before.get(field).unwrap(), "{field}");
    }
    let list = api.get(&format!("{revisions}?limit=2")).await;
    assert_eq!(changes(&list), expected(&[(6, "changed"), (5, "reverted")]));
    let again = api.call("POST", &restore, Value::Null).await;
    assert_eq!(
        (again.status, changes(&api.get(&format!("{revisions}?limit=1")).await)),
        (200, expected(&[(6, "changed")]))
    );
}

#[tokio::test]
async fn a_revision_that_does_not_fit_any_more_is_refused_and_members_can_be_chosen() {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let api = Api::start(&database, &neighbour).await;
    let above = api.add("Above", None).await.id();
    let section = api.add("Below", Some(&above)).await.id();
    let path = format!("/sections/{section}");
    let patch = json!({ "title": "Other", "slug": "other", "parent_id": null });
    assert_eq!(api.call("PATCH", &path, patch).await.status, 200);
    let restore = format!("{path}/revisions/1/restore");

    let taken = api.add("Below", None).await.id();
    assert_eq!(api.call("POST", &restore, Value::Null).await.code(), (409, "slug_taken"));
    assert_eq!(api.call("DELETE", &format!("/sections/{taken}"), Value::Null).await.status, 204);
    assert_eq!(api.call("DELETE", &format!("/sections/{above}"), Value::Null).await.status, 204);
    let gone = api.call("POST", &restore, Value::Null).await;
    assert_eq!((gone.status, &gone.body["errors"][0]["field"]), (422, &"parent_id".into()));
    let wrong = api.call("POST", &format!("{restore}?fields=is_published"), Value::Null).await;
    assert_eq!((wrong.status, &wrong.body["errors"][0]["field"]), (422, &"fields".into()));
    assert_eq!(changes(&api.get(&format!("{path}/revisions")).await), expected(&[(1, "changed")]));
    let restored = api.call("POST", &format!("{restore}?fields=title,slug"), Value::Null).await;
    assert_eq!((restored.status, &restored.body["slug"]), (200, &"below".into()), "{restored:?}");
    assert_eq!(restored.body["parent_id"], Value::Null);
    for (end, code) in [
        ("/revisions/3", (404, "not_found")),
        ("/revisions/0", (404, "not_found")),
        ("/revisions/x", (400, "invalid_id")),
        ("/revisions?limit=0", (422, "validation_failed")),
        ("/revisions/1?compare_with=x", (422, "validation_failed")),
    ] {
        assert_eq!(api.get(&format!("{path}{end}")).await.code(), code, "{end}");
    }
    let nobody = ObjectId::new().to_hex();
    assert_eq!(api.get(&format!("/sections/{nobody}/revisions")).await.code(), (404, "not_found"));
    assert_eq!(api.get("/sections/no-id/revisions/1").await.code(), (400, "invalid_id"));
    let public = api.sent_by(None);
    for end in ["", "/1"] {
        let answer = public.get(&format!("{path}/revisions{end}")).await;
        assert_eq!(answer.code(), (401, "unauthorized"));
    }
}

#[tokio::test]
async fn sections_that_are_deleted_together_have_a_revision_each_and_old_ones_are_removed() {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let settings = [
        ("content.url", neighbour.url.as_str()),
        ("revisions.min_count", "1"),
        ("revisions.max_count", "2"),
    ];
    let api = Api::with(&database, &settings).await;
    let above = api.add("Above", None).await.id();
    let below = api.add("Below", Some(&above)).await.id();
    let cascade = format!("/sections/{above}?on_children=cascade");
    assert_eq!(api.call("DELETE", &cascade, Value::Null).await.status, 204);
    assert_eq!(
        api.call("POST", &format!("/sections/{above}/restore"), Value::Null).await.status,
        200
    );
    for section in [&above, &below] {
        let list = api.get(&format!("/sections/{section}/revisions")).await;
        assert_eq!(changes(&list), expected(&[(2, "restored"), (1, "deleted")]));
    }
    for title in ["One", "Two"] {
        let renamed =
            api.call("PATCH", &format!("/sections/{below}"), json!({ "title": title })).await;
        assert_eq!(renamed.status, 200, "{renamed:?}");
    }
    let list = api.get(&format!("/sections/{below}/revisions")).await;
    assert_eq!(changes(&list), expected(&[(4, "changed"), (3, "changed")]));
}
