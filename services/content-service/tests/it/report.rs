//! The report of the migrations on content that they leave as it is.

use mongodb::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use test_support::{TestDatabase, migration_id};

use crate::support::{
    Site, changed, day, entry, left_out, migrate, page, project, section, story, with, without,
};

/// Fields of a story without `is_published`, and whether they plainly say that it is a draft.
fn signs() -> Vec<(Document, bool)> {
    let mut signs = Vec::new();
    for status in ["draft", "pending", "private", "trash", "scheduled", "future"] {
        signs.push((doc! { "status": status }, true));
        signs.push((doc! { "status": status.to_uppercase() }, true));
    }
    signs.extend([
        (doc! { "status": " Draft\n" }, true),
        (doc! { "status": "publish" }, false),
        (doc! { "status": "drafted" }, false),
        (doc! { "status": "" }, false),
        (doc! { "status": null }, false),
        (doc! { "status": 0 }, false),
        (doc! { "draft": true }, true),
        (doc! { "draft": "true" }, true),
        (doc! { "draft": "True" }, true),
        (doc! { "draft": 1 }, true),
        (doc! { "draft": 1.0 }, true),
        (doc! { "draft": false }, false),
        (doc! { "draft": "false" }, false),
        (doc! { "draft": "a rough draft" }, false),
        (doc! { "published": false }, true),
        (doc! { "published": "false" }, true),
        (doc! { "published": 0_i64 }, true),
        (doc! { "published": true }, false),
        (doc! { "published": null }, false),
        (doc! { "published": "2015-02-01" }, false),
        (doc! { "visibility": "private" }, true),
        (doc! { "visibility": "members" }, true),
        (doc! { "visibility": "public" }, false),
        (doc! { "visibility": "Public" }, false),
        (doc! { "visibility": "" }, false),
        (doc! { "visibility": null }, false),
        (doc! { "status": "publish", "visibility": "password" }, true),
        (doc! { "status": "draft", "published": true }, true),
        (doc! {}, false),
    ]);
    signs
}

#[tokio::test]
async fn a_story_that_plainly_says_that_it_is_a_draft_gets_no_flag_and_is_reported() {
    let database = TestDatabase::new().await;
    let signs = signs();
    let stories = (0_i32..).zip(&signs).map(|(number, (fields, _))| {
        let unsaid = without(story(&format!("s{number}"), day(1)), "is_published");
        with(with(unsaid, fields.clone()), doc! { "_id": number })
    });
    database.collection("stories").insert_many(stories.collect::<Vec<_>>()).await.unwrap();
    // What says so itself is believed, whatever other fields say.
    let said = with(story("said", day(1)), doc! { "status": "draft" });
    database.insert("stories", [said.clone()]).await;
    let site = Site::start(&database).await;
    for (number, (fields, is_draft)) in (0_i32..).zip(&signs) {
        let stored = database.one("stories", doc! { "_id": number }).await;
        let expected = (!is_draft).then_some(&Bson::Boolean(true));
        assert_eq!(stored.get("is_published"), expected, "{fields}");
        let status = site.content.get(&format!("/stories/slug/s{number}")).await.0;
        assert_eq!(status == 200, !is_draft, "{fields}: {status}");
    }
    let drafts = i64::try_from(signs.iter().filter(|(_, is_draft)| *is_draft).count()).unwrap();
    let public = i64::try_from(signs.len()).unwrap() - drafts;
    let changed = changed(&database, migration_id("published_flag")).await;
    assert_eq!(
        changed.into_iter().collect::<Vec<_>>(),
        [("stories without is_published become public".to_owned(), public)]
    );
    let left = left_out(&database, migration_id("published_flag")).await;
    let (reason, count, examples) =
        &left["stories without is_published that say that they are drafts"];
    assert_eq!((*count, examples.len()), (drafts, 10));
    assert!(reason.contains("`status`"), "{reason}");
    let total = site.content.get("/stories?limit=1").await.1["total"].as_i64();
    assert_eq!(total, Some(public + 1));
    site.stop().await;
}

#[tokio::test]
async fn what_becomes_public_is_counted_without_what_is_deleted() {
    let database = TestDatabase::new().await;
    let unsaid = |fields| with(without(story("s", day(1)), "is_published"), fields);
    let ids = [(); 5].map(|()| doc! { "_id": ObjectId::new() });
    let [a, b, c, d, e] = ids.map(unsaid);
    let stories = [
        with(a, doc! { "deleted": false }),
        with(b, doc! { "deleted": "" }),
        with(c, doc! { "deleted": true }),
        with(d, doc! { "deleted": "true" }),
        with(e, doc! { "deleted": "perhaps" }),
    ];
    database.insert("stories", stories).await;
    database.insert("projects", [project("one"), project("two")]).await;
    let draft = with(project("three"), doc! { "status": "draft" });
    let in_trash = with(project("four"), doc! { "deleted": true });
    let said = with(project("five"), doc! { "is_published": true });
    database.insert("projects", [draft, in_trash, said]).await;
    migrate(&database).await;
    let changed = changed(&database, migration_id("published_flag")).await;
    assert_eq!(changed["stories without is_published become public"], 2);
    assert_eq!(changed["deleted stories without is_published → true"], 3);
    let left = left_out(&database, migration_id("published_flag")).await;
    assert!(!left.contains_key("stories without is_published that say that they are drafts"));
    assert_eq!(
        left_out(&database, migration_id("content_report")).await["projects without is_published"]
            .1,
        2
    );
}

#[tokio::test]
async fn what_something_is_wrong_with_is_reported_and_the_migration_is_applied() {
    let database = TestDatabase::new().await;
    let odd_id = Bson::from(doc! { "blog": 1 });
    let stories = [
        with(story("a", "yesterday"), doc! { "_id": "text" }),
        with(story("b", day(1)), doc! { "updatedDate": [1, 2], "title": { "en": "B" } }),
        with(story("c", day(1)), doc! { "updatedDate": [1] }),
        with(story("d", day(1)), doc! { "_id": odd_id.clone() }),
        with(story("e", day(1)), doc! { "_id": true, "is_published": false }),
        story("twin", day(1)),
        story("twin", day(2)),
        with(story("f", day(1)), doc! { "user_id": "nobody" }),
    ];
    database.insert("stories", stories).await;
    let unnamed = without(project("x"), "slug");
    database.insert("projects", [unnamed, with(project("y"), doc! { "slug": "" })]).await;
    migrate(&database).await;
    assert_eq!(
        entry(&database, migration_id("content_report")).await.get_str("state").unwrap(),
        "applied"
    );
    let left = left_out(&database, migration_id("content_report")).await;
    let mut counts: Vec<_> =
        left.iter().map(|(what, (_, count, _))| (what.as_str(), *count)).collect();
    counts.sort_unstable();
    let expected = [
        ("projects without is_published", 2),
        ("projects without slug", 2),
        ("stories of a user who does not exist", 1),
        ("stories unreadable", 2),
        ("stories with a field that cannot be read", 3),
        ("stories with a slug that others have", 2),
        ("unreachable published stories", 1),
    ];
    assert_eq!(counts, expected);
    let (reason, _, examples) = &left["stories with a field that cannot be read"];
    let fields =
        "updatedDate: array (2), createdDate: text that is no date (1), title: object (1). ";
    assert!(reason.starts_with(fields), "{reason}");
    assert_eq!((examples.len(), &examples[0]), (3, &Bson::from("text")));
    let (_, _, examples) = &left["unreachable published stories"];
    assert_eq!(examples, &[Bson::from("{\"blog\":1}")]);
    let report = entry(&database, migration_id("content_report")).await;
    let left = report.get_array("left_out").unwrap().iter().map(|one| one.as_document().unwrap());
    let lost: Vec<_> = left.filter(|one| one.get_bool("unreachable").unwrap_or(false)).collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
}

#[tokio::test]
async fn published_items_are_lost_exactly_where_no_list_and_no_look_up_has_them() {
    let database = TestDatabase::new().await;
    migrate(&database).await;
    let trash = section(&database, "trash", doc! { "is_deleted": true }).await;
    let draft = section(&database, "draft", doc! { "is_published": false }).await;
    let of_pages = section(&database, "pages-only", doc! { "content_type": "page" }).await;
    let broken = section(&database, "broken", doc! { "is_published": "perhaps" }).await;
    // Fields, whether the public's list has the item, and whether it is lost.
    let cases: Vec<(Document, bool, bool)> = vec![
        (doc! { "section_id": &trash }, false, true),
        (doc! { "section_id": trash.to_uppercase() }, false, true),
        (doc! { "section_id": ObjectId::parse_str(&trash).unwrap() }, false, true),
        (doc! { "section_id": &broken }, false, true),
        (doc! { "section_id": &trash, "is_published": false }, false, false),
        (doc! { "section_id": &trash, "deleted": true }, false, false),
        (doc! { "section_id": &draft }, false, false),
        (doc! { "section_id": &of_pages }, true, false),
        (doc! { "section_id": ObjectId::new().to_hex() }, true, false),
        (doc! { "section_id": null }, true, false),
        (doc! { "section_id": 5 }, true, false),
        (doc! { "createdDate": "yesterday", "title": [1] }, true, false),
        (doc! { "is_published": "perhaps" }, false, false),
        (doc! { "is_published": [true] }, false, false),
        (doc! { "is_published": "true", "slug": null }, true, false),
    ];
    let ids: Vec<_> = cases.iter().map(|_| ObjectId::new()).collect();
    for ((number, id), (fields, ..)) in (0..).zip(&ids).zip(&cases) {
        let fields = with(doc! { "_id": id }, fields.clone());
        let item = with(story(&format!("s{number}"), day(1)), fields.clone());
        database.insert("stories", [item]).await;
        let item = with(
            project(&format!("p{number}")),
            with(doc! { "is_published": true }, fields.clone()),
        );
        database.insert("projects", [item]).await;
        database.insert("pages", [with(page("other"), fields)]).await;
    }
    let odd = [Bson::from(DateTime::now()), false.into(), doc! { "a": 1 }.into()];
    for id in &odd {
        for (collection, item) in [
            ("stories", story("odd", day(1))),
            ("projects", project("odd")),
            ("pages", page("other")),
        ] {
            database.insert(collection, [with(item, doc! { "_id": id.clone() })]).await;
        }
    }
    let site = Site::start(&database).await;
    let report = entry(&database, migration_id("content_report")).await;
    let left = report.get_array("left_out").unwrap().iter().map(|one| one.as_document().unwrap());
    let left: Vec<_> = left.filter(|one| one.get_bool("unreachable").unwrap_or(false)).collect();
    let lost: Vec<_> = ids.iter().zip(&cases).filter(|(_, case)| case.2).collect();
    for collection in ["stories", "projects", "pages"] {
        let what = format!("unreachable published {collection}");
        let one = left.iter().find(|one| one.get_str("what").unwrap() == what).unwrap();
        let expected = i64::try_from(lost.len() + odd.len()).unwrap();
        assert_eq!(one.get_i64("count").unwrap(), expected, "{one}");
        let named = one.get_array("examples").unwrap();
        for (id, (fields, ..)) in &lost {
            assert!(named.contains(&id.to_hex().into()), "{collection} {fields}: {named:?}");
        }
        // The rule is what a reader meets, not what the report thinks.
        let mut listed = Vec::new();
        let mut offset = 0;
        loop {
            let (_, page) =
                site.content.get(&format!("/{collection}?limit=50&offset={offset}")).await;
            let items = page["items"].as_array().unwrap().clone();
            if items.is_empty() {
                break;
            }
            offset += items.len();
            listed.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        }
        for (id, (fields, is_listed, _)) in ids.iter().zip(&cases) {
            assert_eq!(listed.contains(&id.to_hex()), *is_listed, "{collection} {fields}");
        }
    }
    site.stop().await;
}
