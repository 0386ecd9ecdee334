//! The rules of the migrations, by name.

use std::collections::HashSet;

use futures_util::TryStreamExt;
use mongodb::bson::{
    Binary, Bson, DateTime, Document, Regex, Timestamp, doc, oid::ObjectId, serialize_to_vec,
    spec::BinarySubtype,
};
use test_support::{Service, TestDatabase, migration_id, settings};

use crate::support::{
    BACKFILL, all_content, changed, day, entry, left_out, migrate, migrate_with_admin, migration,
    page, profile, profiled, project, section_id, stored, story, with, without,
};

const COLLECTIONS: [&str; 3] = ["stories", "projects", "pages"];

const JOURNAL: &str = "content_migration_journal";

/// A document of every shape that a migration meets, among them what is left out.
async fn insert_legacy(database: &TestDatabase) {
    let early =
        without(without(without(story("early", day(1)), "slug"), "is_published"), "createdDate");
    let null = Bson::Null;
    database
        .insert(
            "stories",
            [
                with(early, doc! { "date": day(2) }),
                story("linked-to-nothing", day(3)).tap("section_id", ObjectId::new().to_hex()),
                story("unlinked-on-purpose", day(4)).tap("section_id", null.clone()),
                story("text", "2024-01-05T00:00:00Z").tap("_id", "text-id"),
                story("trash", day(6)).tap("deleted", true),
            ],
        )
        .await;
    database.insert("projects", [project("one"), project("two").tap("section_id", null)]).await;
    database.insert("pages", [page("about"), page("contact"), page("imprint")]).await;
}

trait Tap {
    fn tap(self, field: &str, value: impl Into<Bson>) -> Self;
}

impl Tap for Document {
    fn tap(mut self, field: &str, value: impl Into<Bson>) -> Self {
        self.insert(field, value);
        self
    }
}

async fn slug_of(database: &TestDatabase, id: &Bson) -> Option<String> {
    let story = database.one("stories", doc! { "_id": id }).await;
    story.get_str("slug").ok().map(str::to_owned)
}

fn id(document: &Document) -> Bson {
    document.get("_id").unwrap().clone()
}

// All of them

#[tokio::test]
async fn a_migration_appends_its_fields_and_leaves_every_other_byte_alone() {
    let database = TestDatabase::new().await;
    let early = doc! {
        "legacy_rank": 3_i64, "_id": ObjectId::new(), "title": "Ünïcode \0 title",
        "ratio": 0.1 + 0.2, "nothing": null, "pattern": Bson::RegularExpression(Regex {
            pattern: "^a".try_into().unwrap(), options: "i".try_into().unwrap(),
        }),
        "bytes": Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255] },
        "stamp": Timestamp { time: 5, increment: 6 }, "low": Bson::MinKey,
        "price": Bson::Decimal128("1.10".parse().unwrap()), "date": day(7),
        "nested": { "b": 1, "a": [{ "z": [] }, null] }, "$odd.name": 1,
    };
    let complete = with(story("complete", day(1)), doc! { "extra": 1.0, "section_id": null });
    let portfolio = with(project("one"), doc! { "stars": 5_i64 });
    database.insert("stories", [early.clone(), complete.clone()]).await;
    database.insert("projects", [portfolio.clone()]).await;
    migrate_with_admin(&database, "admin@example.org").await;

    let user = database.one("users", doc! {}).await.get_object_id("_id").unwrap().to_hex();
    let early_after = doc! {
        "is_published": true, "createdDate": day(7), "updatedDate": day(7),
        "slug": "unicode-title", "user_id": &user, "section_id": section_id(&database, "blog").await,
    };
    let portfolio_after =
        doc! { "user_id": &user, "section_id": section_id(&database, "projects").await };
    for (collection, before, appended) in [
        ("stories", early, early_after),
        ("stories", complete, doc! { "user_id": &user }),
        ("projects", portfolio, portfolio_after),
    ] {
        let id = id(&before);
        // The server itself puts `_id` first when a document is inserted.
        let mut expected = doc! { "_id": id.clone() };
        expected.extend(before.into_iter().filter(|(field, _)| field != "_id"));
        expected.extend(appended);
        let expected = serialize_to_vec(&expected).unwrap();
        assert_eq!(stored(&database, collection, &id).await, expected);
    }
}

#[tokio::test]
async fn a_second_run_writes_nothing() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    migrate_with_admin(&database, "admin@example.org").await;
    let before = database.hash().await;
    migrate_with_admin(&database, "admin@example.org").await;
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn a_second_run_writes_nothing_where_a_section_and_the_admin_are_missing() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    let blog = doc! {
        "title": "Blog", "slug": "blog", "parent_id": null, "display_type": "feed",
        "content_type": "story", "nav_visibility": "main", "sort_order": 0,
        "is_published": true, "is_deleted": false,
    };
    database.insert("sections", [blog]).await;
    migrate(&database).await;
    assert_eq!(left_out(&database, migration_id("backfill_section_id")).await.len(), 7);
    let before = database.hash().await;
    migrate(&database).await;
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn an_empty_database_is_migrated_too() {
    let database = TestDatabase::new().await;
    migrate(&database).await;
    let applied =
        doc! { "state": "applied", "attempts": 1_i64, "left_out.count": { "$not": { "$gt": 0 } } };
    let all = database.count("content_migrations", doc! {}).await;
    assert_eq!((database.count("content_migrations", applied).await, all > 0), (all, true));
    for collection in ["stories", "projects", "pages", "users"] {
        assert_eq!(database.count(collection, doc! {}).await, 0);
    }
}

#[tokio::test]
async fn the_ledger_says_what_was_changed_when_and_by_whom() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    let before = DateTime::now();
    migrate(&database).await;
    let entry = entry(&database, migration_id("backfill_section_id")).await;
    for (field, expected) in [
        ("state", Bson::from("applied")),
        ("kind", "backfill".into()),
        ("blocking", false.into()),
        ("attempts", 1_i64.into()),
        ("error", Bson::Null),
        ("progress", Bson::Null),
        ("app_version", env!("CARGO_PKG_VERSION").into()),
    ] {
        assert_eq!(entry.get(field), Some(&expected), "{field}");
    }
    let at = |field| *entry.get_datetime(field).unwrap();
    assert!(before <= at("started_at") && at("started_at") <= at("finished_at"));
    let run = entry.get_array("history").unwrap()[0].as_document().unwrap();
    assert_eq!(run.get("owner"), entry.get("owner"));
    assert_eq!(run.get_i64("modified").unwrap(), 6);
    let changed = changed(&database, migration_id("backfill_section_id")).await;
    let expected = [
        ("stories → section blog", 3),
        ("projects → section projects", 1),
        ("pages of type about → section about", 1),
        ("pages of type contact → section contact", 1),
    ];
    assert_eq!(changed, expected.map(|(what, count)| (what.to_owned(), count)).into());
}

#[tokio::test]
async fn the_lease_is_given_back() {
    let database = TestDatabase::new().await;
    migrate(&database).await;
    let lease = database.one("content_migration_lock", doc! {}).await;
    assert_eq!(lease.get("owner"), Some(&Bson::Null));
}

// published_flag

#[tokio::test]
async fn a_story_without_a_flag_is_published() {
    let database = TestDatabase::new().await;
    let absent = without(story("absent", day(1)), "is_published");
    let in_trash = absent.clone().tap("_id", ObjectId::new()).tap("deleted", true);
    let (absent_id, trash_id) = (id(&absent), id(&in_trash));
    database.insert("stories", [absent, in_trash]).await;
    migrate(&database).await;
    for id in [absent_id, trash_id] {
        let story = database.one("stories", doc! { "_id": id }).await;
        assert!(story.get_bool("is_published").unwrap());
        assert_eq!(*story.get_datetime("updatedDate").unwrap(), day(300));
    }
}

#[tokio::test]
async fn a_flag_that_is_there_stays_whatever_it_says() {
    let database = TestDatabase::new().await;
    let flags = [Bson::from(false), true.into(), Bson::Null, "yes".into(), 0.into()];
    let stories: Vec<_> = (0_i32..)
        .zip(&flags)
        .map(|(number, flag)| {
            story("s", day(1)).tap("_id", number).tap("is_published", flag.clone())
        })
        .collect();
    database.collection("stories").insert_many(stories).await.unwrap();
    migrate(&database).await;
    for (number, flag) in (0_i32..).zip(flags) {
        let story = database.one("stories", doc! { "_id": number }).await;
        assert_eq!(story.get("is_published"), Some(&flag));
    }
}

#[tokio::test]
async fn projects_and_pages_get_no_flag() {
    let database = TestDatabase::new().await;
    database.insert("projects", [project("one")]).await;
    database.insert("pages", [without(page("about"), "is_published")]).await;
    migrate(&database).await;
    for collection in ["projects", "pages"] {
        assert!(!database.one(collection, doc! {}).await.contains_key("is_published"));
    }
}

// story_dates

#[tokio::test]
async fn missing_dates_come_from_the_one_date() {
    let database = TestDatabase::new().await;
    let base = || without(without(story("s", day(1)), "createdDate"), "updatedDate");
    database
        .insert(
            "stories",
            [
                base().tap("_id", "both").tap("date", day(10)),
                base().tap("_id", "created").tap("date", day(10)).tap("updatedDate", day(20)),
                base().tap("_id", "updated").tap("date", day(10)).tap("createdDate", day(20)),
                base()
                    .tap("_id", "none")
                    .tap("date", day(10))
                    .tap("createdDate", day(20))
                    .tap("updatedDate", day(21)),
                base().tap("_id", "text").tap("date", "2024-01-05T00:00:00+01:00"),
                base().tap("_id", "null").tap("date", day(10)).tap("createdDate", Bson::Null),
                base().tap("_id", "no date"),
                base().tap("_id", "null date").tap("date", Bson::Null),
            ],
        )
        .await;
    migrate(&database).await;
    let date = |number| Some(Bson::from(day(number)));
    let text = Some(Bson::from("2024-01-05T00:00:00+01:00"));
    for (id, created, updated) in [
        ("both", date(10), date(10)),
        ("created", date(10), date(20)),
        ("updated", date(20), date(10)),
        ("none", date(20), date(21)),
        ("text", text.clone(), text),
        ("null", Some(Bson::Null), date(10)),
        ("no date", None, None),
        ("null date", None, None),
    ] {
        let story = database.one("stories", doc! { "_id": id }).await;
        assert_eq!(story.get("createdDate"), created.as_ref(), "{id}");
        assert_eq!(story.get("updatedDate"), updated.as_ref(), "{id}");
    }
}

// story_slugs

#[tokio::test]
async fn a_story_without_a_slug_gets_one_from_its_title() {
    let database = TestDatabase::new().await;
    let untitled = |id: &str| without(story("x", day(1)), "slug").tap("_id", id);
    database
        .insert(
            "stories",
            [
                untitled("plain").tap("title", "Announcing Rust 1.71.0"),
                untitled("null").tap("title", "A null").tap("slug", Bson::Null),
                untitled("empty").tap("title", "An empty").tap("slug", ""),
                untitled("draft").tap("title", "A draft").tap("is_published", false),
                untitled("signs").tap("title", "¡¿…"),
                untitled("ideographs").tap("title", "日本語"),
                untitled("umlauts").tap("title", "Über uns"),
                untitled("decomposed").tap("title", "U\u{308}ber uns"),
                untitled("long").tap("title", "wort ".repeat(100)),
                untitled("long, too").tap("title", "wort ".repeat(200)),
                untitled("more signs").tap("title", "!?"),
                without(untitled("no title"), "title"),
                untitled("number").tap("title", 7),
                untitled("kept").tap("title", "Other").tap("slug", "An odd slug/"),
            ],
        )
        .await;
    migrate(&database).await;
    for (id, slug) in [
        ("plain", "announcing-rust-1710"),
        ("null", "a-null"),
        ("empty", "an-empty"),
        ("draft", "a-draft"),
        ("kept", "An odd slug/"),
        ("ideographs", "ri-ben-yu"),
        ("number", "7"),
    ] {
        assert_eq!(slug_of(&database, &id.into()).await.as_deref(), Some(slug), "{id}");
    }
    let mut fallbacks = Vec::new();
    for id in ["signs", "more signs", "no title"] {
        fallbacks.push(slug_of(&database, &id.into()).await.unwrap());
    }
    fallbacks.sort();
    assert_eq!(fallbacks, ["story", "story-2", "story-3"]);
    let words = ["wort"; 40].join("-");
    let shorter = format!("{}-2", ["wort"; 39].join("-"));
    for (ids, slugs) in [
        (["umlauts", "decomposed"], ["uber-uns", "uber-uns-2"]),
        (["long", "long, too"], [words.as_str(), shorter.as_str()]),
    ] {
        let mut found = Vec::new();
        for id in ids {
            found.push(slug_of(&database, &id.into()).await.unwrap());
        }
        found.sort_by_key(String::len);
        let mut expected = slugs;
        expected.sort_by_key(|slug| slug.len());
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_slug_that_is_taken_gets_the_first_free_number() {
    let database = TestDatabase::new().await;
    let titled = |id: i32, title: &str| {
        without(story("x", day(1)), "slug").tap("_id", id).tap("title", title)
    };
    database
        .insert(
            "stories",
            [
                story("news", day(1)).tap("_id", 100),
                story("news-3", day(1)).tap("_id", 101),
                story("newspaper", day(1)).tap("_id", 102),
                titled(1, "News"),
                titled(2, "news!"),
                titled(3, "News 2"),
                titled(4, "Other"),
                titled(5, "News"),
            ],
        )
        .await;
    migrate(&database).await;
    for (id, slug) in [(1, "news-2"), (2, "news-4"), (3, "news-2-2"), (4, "other"), (5, "news-5")] {
        assert_eq!(slug_of(&database, &id.into()).await.as_deref(), Some(slug), "{id}");
    }
}

#[tokio::test]
async fn the_slug_of_a_deleted_story_is_taken() {
    let database = TestDatabase::new().await;
    let new = without(story("x", day(1)), "slug").tap("title", "News");
    let id = id(&new);
    database.insert("stories", [story("news", day(1)).tap("deleted", true), new]).await;
    migrate(&database).await;
    assert_eq!(slug_of(&database, &id).await.as_deref(), Some("news-2"));
}

#[tokio::test]
async fn a_deleted_story_gets_no_slug() {
    let database = TestDatabase::new().await;
    let trash = without(story("x", day(1)), "slug").tap("deleted", true);
    database.insert("stories", [trash]).await;
    migrate(&database).await;
    assert!(!database.one("stories", doc! {}).await.contains_key("slug"));
}

#[tokio::test]
async fn many_stories_without_a_slug_get_different_ones_and_the_index_says_which_are_taken() {
    let database = TestDatabase::new().await;
    let stories = (0..120).map(|number| doc! { "title": format!("Title {}", number / 4) });
    database.collection("stories").insert_many(stories).await.unwrap();
    profile(&database, 2).await;
    migrate(&database).await;
    profile(&database, 0).await;
    let stories = database.collection("stories").find(doc! {}).await.unwrap();
    let stories: Vec<Document> = stories.try_collect().await.unwrap();
    let slugs: HashSet<_> = stories.iter().map(|story| story.get_str("slug").unwrap()).collect();
    assert_eq!(slugs.len(), 120);
    assert!(slugs.contains("title-29-4"), "{:?}", slugs.iter().take(5));
    let changed = changed(&database, migration_id("story_slugs")).await;
    assert_eq!(changed["stories without slug ← title"], 120);

    let look_ups = doc! { "command.filter.slug.$regex": { "$exists": true } };
    let look_ups = profiled(&database, look_ups).await;
    assert!(look_ups.len() >= 30, "{}", look_ups.len());
    for look_up in look_ups {
        assert_eq!(look_up.get_str("planSummary").unwrap(), "IXSCAN { slug: 1 }");
    }
}

// create_admin_user, user_id

#[tokio::test]
async fn the_configured_admin_is_created_once() {
    let database = TestDatabase::new().await;
    let before = DateTime::now();
    let admin = [("admin.email", "admin@example.org"), ("admin.name", "Ada")];
    for _ in 0..2 {
        crate::support::Site::start_with(&database, &admin).await.stop().await;
    }
    let mut user = database.one("users", doc! {}).await;
    user.get_object_id("_id").unwrap();
    for field in ["createdDate", "updatedDate"] {
        let date = *user.get_datetime(field).unwrap();
        assert!(before <= date && date <= DateTime::now(), "{field}: {date}");
        user.remove(field);
    }
    user.remove("_id");
    assert_eq!(user, doc! { "email": "admin@example.org", "name": "Ada", "role": "admin" });
}

#[tokio::test]
async fn an_existing_user_with_the_admins_email_is_left_alone() {
    let database = TestDatabase::new().await;
    let user = doc! { "_id": ObjectId::new(), "email": "admin@example.org", "role": "author" };
    database.insert("users", [user.clone()]).await;
    database.insert("stories", [story("s", day(1))]).await;
    migrate_with_admin(&database, "admin@example.org").await;
    assert_eq!(database.one("users", doc! {}).await, user);
    let story = database.one("stories", doc! {}).await;
    assert_eq!(story.get_str("user_id").unwrap(), user.get_object_id("_id").unwrap().to_hex());
}

#[tokio::test]
async fn without_the_setting_no_user_is_created_and_the_ledger_says_so() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    migrate(&database).await;
    assert_eq!(database.count("users", doc! {}).await, 0);
    let left = left_out(&database, migration_id("create_admin_user")).await;
    assert_eq!(left["no user is created"].0, "`admin.email` is not set");
    let left = left_out(&database, migration_id("user_id")).await;
    for (collection, count) in COLLECTIONS.iter().zip([5, 2, 3]) {
        assert_eq!(database.count(collection, doc! { "user_id": { "$exists": true } }).await, 0);
        let (reason, left, examples) = &left[&format!("{collection} without user_id")];
        assert_eq!((reason.as_str(), *left), ("there is no admin yet", count));
        assert_eq!(examples.len(), usize::try_from(count).unwrap());
    }
}

#[tokio::test]
async fn an_admin_who_is_configured_later_gets_the_content_at_the_next_start() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    migrate(&database).await;
    migrate_with_admin(&database, "admin@example.org").await;
    let admin = database.one("users", doc! {}).await.get_object_id("_id").unwrap().to_hex();
    for (collection, count) in COLLECTIONS.iter().zip([5, 2, 3]) {
        assert_eq!(database.count(collection, doc! { "user_id": &admin }).await, count);
    }
    let entry = entry(&database, migration_id("user_id")).await;
    assert_eq!(entry.get_i64("attempts").unwrap(), 2);
    assert!(entry.get_array("left_out").unwrap().is_empty());
    assert_eq!(entry.get_array("history").unwrap().len(), 2);
}

#[tokio::test]
async fn without_the_setting_content_goes_to_an_admin_who_is_there() {
    let database = TestDatabase::new().await;
    let (author, admin) = (ObjectId::new(), ObjectId::new());
    database
        .insert(
            "users",
            [doc! { "_id": author, "role": "author" }, doc! { "_id": admin, "role": "admin" }],
        )
        .await;
    insert_legacy(&database).await;
    migrate(&database).await;
    for (collection, count) in COLLECTIONS.iter().zip([5, 2, 3]) {
        assert_eq!(database.count(collection, doc! { "user_id": admin.to_hex() }).await, count);
    }
}

#[tokio::test]
async fn a_user_id_that_is_there_stays_whatever_it_says() {
    let database = TestDatabase::new().await;
    let values = [Bson::Null, "nobody".into(), ObjectId::new().into(), "".into()];
    for (number, value) in (0_i32..).zip(&values) {
        for collection in COLLECTIONS {
            let document = page("about").tap("_id", number).tap("user_id", value.clone());
            database.insert(collection, [document]).await;
        }
    }
    migrate_with_admin(&database, "admin@example.org").await;
    for (number, value) in (0_i32..).zip(values) {
        for collection in COLLECTIONS {
            let document = database.one(collection, doc! { "_id": number }).await;
            assert_eq!(document.get("user_id"), Some(&value), "{collection}");
        }
    }
}

// backfill_section_id

#[tokio::test]
async fn content_is_linked_to_its_section_and_nothing_else_changes() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    migrate(&database).await;
    for (collection, filter, section) in [
        ("stories", doc! { "slug": "text" }, "blog"),
        ("projects", doc! { "slug": "one" }, "projects"),
        ("pages", doc! { "page_type": "about" }, "about"),
        ("pages", doc! { "page_type": "contact" }, "contact"),
    ] {
        let linked = database.one(collection, filter).await;
        let section = section_id(&database, section).await;
        assert_eq!(linked.get("section_id"), Some(&section.into()), "{collection}");
    }
}

#[tokio::test]
async fn drafts_and_deleted_content_are_linked_too() {
    let database = TestDatabase::new().await;
    for collection in COLLECTIONS {
        let (draft, trash) = (page("about"), page("about"));
        let draft = draft.tap("is_published", false).tap("slug", "draft");
        let trash = trash.tap("deleted", true).tap("slug", "trash");
        database.insert(collection, [draft, trash]).await;
    }
    migrate(&database).await;
    for (collection, section) in COLLECTIONS.iter().zip(["blog", "projects", "about"]) {
        let linked = doc! { "section_id": section_id(&database, section).await };
        assert_eq!(database.count(collection, linked).await, 2, "{collection}");
    }
}

#[tokio::test]
async fn linking_does_not_change_the_updated_date() {
    let database = TestDatabase::new().await;
    database.insert("stories", [story("s", day(1))]).await;
    migrate(&database).await;
    let story = database.one("stories", doc! {}).await;
    assert_eq!(*story.get_datetime("updatedDate").unwrap(), day(300));
    assert!(story.contains_key("section_id"));
}

#[tokio::test]
async fn an_existing_section_id_stays_even_one_that_points_nowhere() {
    let database = TestDatabase::new().await;
    let values =
        [Bson::Null, ObjectId::new().to_hex().into(), ObjectId::new().into(), "".into(), 5.into()];
    for (number, value) in (0_i32..).zip(&values) {
        for collection in COLLECTIONS {
            let document = page("about").tap("_id", number).tap("section_id", value.clone());
            database.insert(collection, [document]).await;
        }
    }
    migrate(&database).await;
    for (number, value) in (0_i32..).zip(values) {
        for collection in COLLECTIONS {
            let document = database.one(collection, doc! { "_id": number }).await;
            assert_eq!(document.get("section_id"), Some(&value), "{collection}");
        }
    }
    let left = left_out(&database, migration_id("backfill_section_id")).await;
    for collection in COLLECTIONS {
        assert_eq!(left[&format!("{collection} with section_id null")].1, 1);
        // A number is no reference, which the report of what cannot be read says.
        assert_eq!(left[&format!("{collection} in a section that does not exist")].1, 3);
    }
}

#[tokio::test]
async fn pages_of_other_types_stay_unlinked_and_are_reported() {
    let database = TestDatabase::new().await;
    let (imprint, untyped) = (page("imprint"), without(page("x"), "page_type"));
    let odd = page("About");
    let ids: HashSet<_> = [&imprint, &untyped, &odd].map(|page| id(page).to_string()).into();
    database.insert("pages", [imprint, untyped, odd, page("about")]).await;
    migrate(&database).await;
    assert_eq!(database.count("pages", doc! { "section_id": { "$exists": false } }).await, 3);
    let left = left_out(&database, migration_id("backfill_section_id")).await;
    let (reason, count, examples) = &left["pages of other types"];
    assert_eq!((reason.as_str(), *count), ("no section is known for their type", 3));
    assert_eq!(examples.iter().map(Bson::to_string).collect::<HashSet<_>>(), ids);
}

#[tokio::test]
async fn what_comes_to_be_left_out_is_reported_at_the_next_start() {
    let database = TestDatabase::new().await;
    migrate(&database).await;
    assert!(left_out(&database, migration_id("backfill_section_id")).await.is_empty());
    database.insert("pages", [page("imprint")]).await;
    migrate(&database).await;
    let left = left_out(&database, migration_id("backfill_section_id")).await;
    assert_eq!(left["pages of other types"].1, 1);
}

#[tokio::test]
async fn what_an_old_program_adds_later_is_linked_at_the_next_start() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    migrate(&database).await;
    let late = without(without(story("late", day(9)), "slug"), "is_published").tap("title", "Late");
    database.insert("stories", [late]).await;
    database.insert("pages", [page("about").tap("title", "Late")]).await;
    migrate(&database).await;
    let story = database.one("stories", doc! { "title": "Late" }).await;
    assert_eq!(story.get_str("section_id").unwrap(), section_id(&database, "blog").await);
    assert_eq!(story.get_str("slug").unwrap(), "late");
    assert!(story.get_bool("is_published").unwrap());
    let page = database.one("pages", doc! { "title": "Late" }).await;
    assert_eq!(page.get_str("section_id").unwrap(), section_id(&database, "about").await);
    let entry = entry(&database, migration_id("backfill_section_id")).await;
    let modified = |run: &Bson| run.as_document().unwrap().get_i64("modified").unwrap();
    let history: Vec<_> = entry.get_array("history").unwrap().iter().map(modified).collect();
    assert_eq!(history, [6, 2]);
    // What a run has to leave out is reported by each run anew.
    assert_eq!(
        left_out(&database, migration_id("backfill_section_id")).await["pages of other types"].1,
        1
    );
}

#[tokio::test]
async fn a_missing_section_is_skipped_and_its_content_is_linked_when_it_exists() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    let sections = Service::sections(&settings(&database, &[])).await;
    sections.migrated().await;
    sections.stop().await.unwrap();
    let all = database.collection("sections");
    all.delete_one(doc! { "slug": "blog" }).await.unwrap();
    let delete = doc! { "$set": { "is_deleted": true } };
    all.update_one(doc! { "slug": "contact" }, delete).await.unwrap();

    migrate(&database).await;
    for (collection, count) in COLLECTIONS.iter().zip([0, 1, 1]) {
        let linked = doc! { "section_id": { "$type": "string" } };
        let orphans = if *collection == "stories" { 1 } else { 0 };
        assert_eq!(database.count(collection, linked).await, count + orphans, "{collection}");
    }
    let left = left_out(&database, migration_id("backfill_section_id")).await;
    for (what, count, slug) in [
        ("stories → section blog", 3, "`blog`"),
        ("pages of type contact → section contact", 1, "`contact`"),
    ] {
        let (reason, left, _) = &left[what];
        assert_eq!(*left, count);
        assert!(reason.contains(slug) && reason.contains("next start"), "{reason}");
    }

    let restore = doc! { "$set": { "is_deleted": false } };
    all.update_one(doc! { "slug": "contact" }, restore).await.unwrap();
    let blog = all.find_one(doc! { "slug": "about" }).await.unwrap().unwrap();
    let blog = blog.tap("_id", ObjectId::new()).tap("slug", "blog").tap("content_type", "story");
    all.insert_one(blog).await.unwrap();
    migrate(&database).await;
    let blog = section_id(&database, "blog").await;
    assert_eq!(database.count("stories", doc! { "section_id": blog }).await, 3);
    let contact = section_id(&database, "contact").await;
    assert_eq!(database.count("pages", doc! { "section_id": contact }).await, 1);
    let left = left_out(&database, migration_id("backfill_section_id")).await;
    assert!(!left.contains_key("stories → section blog"), "{left:?}");
}

// list_indexes, content_indexes

/// The indexes that revision 1 of other migrations built, and that are now the first one's.
const MOVED: [(&str, &str, &str); 6] = [
    ("story_slugs", "stories", "look_up_slug"),
    ("content_indexes", "stories", "createdDate_-1__id_-1_visibility"),
    ("content_indexes", "projects", "createdDate_-1__id_-1_visibility"),
    ("content_indexes", "projects", "look_up_slug"),
    ("content_indexes", "pages", "createdDate_-1__id_-1_visibility"),
    ("content_indexes", "pages", "look_up_page_type"),
];

/// Makes ledger and journal what a program left that had no first migration for indexes: the
/// checksums are those that it wrote.
async fn to_former_layout(database: &TestDatabase) {
    let (ledger, journal) =
        (database.collection("content_migrations"), database.collection(JOURNAL));
    ledger.delete_one(doc! { "_id": migration_id("list_indexes") }).await.unwrap();
    for (migration, checksum) in [
        (
            migration_id("story_slugs"),
            "f90190e25093e5d5f0317c8176569b386588aeb67d5e462367744364a0fb6673",
        ),
        (
            migration_id("content_indexes"),
            "925360990ed0ead6ac92aa5cace0a1fd0b2d99c1f55ad84e8d8852a1bbdd7590",
        ),
    ] {
        let moved = MOVED.iter().filter(|(name, _, _)| migration_id(name) == migration);
        let count = i64::try_from(moved.count()).unwrap();
        let former = doc! {
            "$set": { "revision": 1, "checksum": checksum }, "$inc": { "journaled": count },
        };
        ledger.update_one(doc! { "_id": migration }, former).await.unwrap();
    }
    for (migration, collection, name) in MOVED {
        let record = doc! {
            "migration": migration_id("list_indexes"), "collection": collection, "change.built.name": name,
        };
        let former = doc! { "$set": { "migration": migration_id(migration) } };
        let updated = journal.update_one(record, former).await.unwrap();
        assert_eq!(updated.matched_count, 1, "{collection} {name}");
    }
}

#[tokio::test]
async fn a_database_that_was_migrated_before_lists_had_a_migration_of_their_own_goes_on() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    migrate(&database).await;
    let (content, after) = (content_hash(&database).await, journaled(&database).await);
    to_former_layout(&database).await;
    assert_ne!(journaled(&database).await, after);

    let all = migrate(&database).await.len() as u64;
    // Nothing was built or changed; what is on record belongs to where it is now.
    assert_eq!(content_hash(&database).await, content);
    assert_eq!(journaled(&database).await, after);
    let applied = doc! { "state": "applied", "error": null, "verify.ok": true };
    assert_eq!(database.count("content_migrations", applied).await, all);
    // And again nothing.
    let before = database.hash().await;
    migrate(&database).await;
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn a_database_whose_content_is_half_linked_gets_its_lists_first() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    migrate(&database).await;
    to_former_layout(&database).await;
    // As it was before the backfill was over: nothing has an index yet but the slugs of stories.
    let unset = doc! { "$unset": { "section_id": "" } };
    database.collection("projects").update_many(doc! { "slug": "one" }, unset).await.unwrap();
    for collection in COLLECTIONS {
        let names = database.collection(collection).list_index_names().await.unwrap();
        let names = names.iter().filter(|name| *name != "_id_");
        for name in names.filter(|name| (collection, name.as_str()) != ("stories", "look_up_slug"))
        {
            database.collection(collection).drop_index(name).await.unwrap();
        }
    }
    let built = doc! { "migration": migration_id("content_indexes") };
    database.collection(JOURNAL).delete_many(built).await.unwrap();
    let never = doc! { "_id": migration_id("content_indexes") };
    database.collection("content_migrations").delete_one(never).await.unwrap();
    let interrupted = doc! { "$set": { "state": "running" } };
    let backfill = doc! { "_id": BACKFILL };
    database.collection("content_migrations").update_one(backfill, interrupted).await.unwrap();

    let all = migrate(&database).await.len() as u64;
    let applied = doc! { "state": "applied", "verify.ok": true };
    assert_eq!(database.count("content_migrations", applied).await, all);
    let started = async |id| {
        let entry = entry(&database, id).await;
        entry.get_datetime("started_at").copied().unwrap()
    };
    assert!(started(migration_id("list_indexes")).await < started(BACKFILL).await);
    let projects = section_id(&database, "projects").await;
    assert_eq!(database.count("projects", doc! { "section_id": projects }).await, 1);
    for (_, collection, name) in MOVED {
        let names = database.collection(collection).list_index_names().await.unwrap();
        assert!(names.iter().any(|one| one == name), "{collection}: {names:?}");
    }
}

/// A hash of everything but ledger, journal and lease.
async fn content_hash(database: &TestDatabase) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for collection in COLLECTIONS {
        let found = database.collection(collection).find(doc! {}).sort(doc! { "_id": 1 }).await;
        let documents: Vec<Document> = found.unwrap().try_collect().await.unwrap();
        let documents = documents.iter().flat_map(|one| serialize_to_vec(one).unwrap());
        all.push((collection.to_owned(), documents.collect()));
    }
    all
}

/// Returns the numbers of changes of each migration in ledger and journal.
async fn journaled(database: &TestDatabase) -> Vec<(String, i64, i64)> {
    let ledger = database.collection("content_migrations");
    let entries = ledger.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    let entries: Vec<Document> = entries.try_collect().await.unwrap();
    let mut counts = Vec::new();
    for entry in entries {
        let id = entry.get_str("_id").unwrap();
        let records = database.collection(JOURNAL).find(doc! { "migration": id }).await.unwrap();
        let records: Vec<Document> = records.try_collect().await.unwrap();
        let count = records.iter().map(|record| record.get_i64("count").unwrap()).sum();
        counts.push((id.to_owned(), entry.get_i64("journaled").unwrap_or_default(), count));
    }
    counts
}

#[tokio::test]
async fn lists_and_look_ups_have_their_indexes_before_anything_is_filled() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    migrate(&database).await;
    let first = entry(&database, migration_id("list_indexes")).await;
    let finished = first.get_datetime("finished_at").unwrap();
    let started =
        doc! { "_id": { "$ne": migration_id("list_indexes") }, "started_at": { "$lt": finished } };
    assert_eq!(database.count("content_migrations", started).await, 0);
    for (_, collection, name) in MOVED {
        let record = doc! {
            "migration": migration_id("list_indexes"), "collection": collection, "change.built.name": name,
        };
        assert_eq!(database.count(JOURNAL, record).await, 1, "{collection}: {name}");
    }
}

async fn indexes(database: &TestDatabase, collection: &str) -> Vec<Document> {
    let answer = database.database().run_command(doc! { "listIndexes": collection }).await.unwrap();
    let batch = answer.get_document("cursor").unwrap().get_array("firstBatch").unwrap().clone();
    batch.into_iter().map(|index| index.as_document().unwrap().clone()).collect()
}

#[tokio::test]
async fn each_collection_has_an_index_on_its_sections() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    migrate(&database).await;
    for collection in COLLECTIONS {
        let indexes = indexes(&database, collection).await;
        let expected = doc! { "v": 2, "key": { "section_id": 1 }, "name": "section_id_1" };
        assert!(indexes.contains(&expected), "{collection}: {indexes:?}");
    }
}

#[tokio::test]
async fn an_index_that_somebody_made_before_is_used_as_it_is() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    let by_hand = doc! {
        "createIndexes": "stories", "indexes": [{ "key": { "section_id": 1 }, "name": "by_hand" }],
    };
    database.database().run_command(by_hand).await.unwrap();
    migrate(&database).await;
    let on_section = indexes(&database, "stories").await;
    let on_section: Vec<_> = on_section
        .iter()
        .filter(|index| index.get_document("key").unwrap() == &doc! { "section_id": 1 })
        .collect();
    assert_eq!(on_section.len(), 1);
    assert_eq!(on_section[0].get_str("name").unwrap(), "by_hand");
}

#[tokio::test]
async fn indexes_that_an_existing_site_has_on_its_slugs_are_in_nobodys_way() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    for (collection, options) in [
        ("stories", doc! { "unique": true, "sparse": true }),
        ("projects", doc! { "unique": true }),
    ] {
        let slugs = with(doc! { "key": { "slug": 1 }, "name": "slug_1" }, options);
        let create = doc! { "createIndexes": collection, "indexes": [slugs] };
        database.database().run_command(create).await.unwrap();
    }
    migrate(&database).await;
    for (collection, expected) in
        [("stories", ["look_up_slug", "slug_1"].as_slice()), ("projects", &["slug_1"])]
    {
        let indexes = indexes(&database, collection).await;
        let on_slug = doc! { "slug": 1 };
        let mut names: Vec<_> = indexes
            .iter()
            .filter(|index| index.get_document("key").unwrap() == &on_slug)
            .map(|index| index.get_str("name").unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{collection}");
    }
}

#[tokio::test]
async fn an_index_of_that_name_that_does_something_else_is_a_failure_that_says_so() {
    let database = TestDatabase::new().await;
    insert_legacy(&database).await;
    let other = doc! {
        "createIndexes": "stories",
        "indexes": [{ "key": { "section_id": -1 }, "name": "section_id_1" }],
    };
    database.database().run_command(other).await.unwrap();
    let site = Service::sections(&settings(&database, &[])).await;
    site.migrated().await;
    let content = crate::support::content(&database, &site.url, &[]).await;
    content
        .wait_for("the migration fails", |all| {
            migration(all, migration_id("content_indexes"))
                .message
                .as_deref()
                .is_some_and(|message| message.contains("section_id_1"))
        })
        .await;
    let entry = entry(&database, migration_id("content_indexes")).await;
    assert_eq!(entry.get_str("state").unwrap(), "failed_fatal");
    let error = entry.get_document("error").unwrap();
    assert!(error.get_str("message").unwrap().contains("section_id_1"), "{error}");
    // The content is served all the same.
    assert_eq!(content.get("/health/ready").await.0, 200);
    assert_eq!(content.get("/stories").await.1["total"], 4);
}

// content_dates

#[tokio::test]
async fn dates_of_another_type_become_dates_where_they_are_many_and_stay_where_they_are_few() {
    let database = TestDatabase::new().await;
    let odd = |number: i64| -> Bson {
        let date = DateTime::from_millis(1_700_000_000_000 + number * 1_000);
        match number % 4 {
            0 => date.try_to_rfc3339_string().unwrap().into(),
            1 => (date.timestamp_millis() / 1_000).into(),
            2 => date.timestamp_millis().into(),
            _ => Timestamp {
                time: u32::try_from(date.timestamp_millis() / 1_000).unwrap(),
                increment: 1,
            }
            .into(),
        }
    };
    let unclear: [Bson; 6] = [
        "".into(),
        "yesterday".into(),
        5.into(),
        doc! { "year": 2015 }.into(),
        vec!["2015-02-01"].into(),
        true.into(),
    ];
    let many = (0..1_100).map(|number| {
        let dates = doc! { "updatedDate": odd(number + 1), "extra": number };
        with(story(&number.to_string(), odd(number)), dates)
    });
    let unclear_stories = unclear.iter().enumerate().map(|(number, value)| {
        let dates = doc! { "updatedDate": value };
        with(story(&format!("unclear-{number}"), value.clone()), dates)
    });
    let stories: Vec<_> = many.chain(unclear_stories).collect();
    database.collection("stories").insert_many(&stories).await.unwrap();
    let few: Vec<_> =
        (0..5).map(|number| with(project("p"), doc! { "createdDate": odd(number) })).collect();
    database.collection("projects").insert_many(&few).await.unwrap();
    migrate(&database).await;

    let state = entry(&database, migration_id("content_dates")).await;
    assert_eq!(state.get_str("state").unwrap(), "applied");
    let changed = changed(&database, migration_id("content_dates")).await;
    assert_eq!(changed["stories: createdDate of another type → date"], 1_100);
    assert_eq!(changed["stories: updatedDate of another type → date"], 1_100);
    assert_eq!(changed.len(), 2);
    for before in &stories {
        let after = database.one("stories", doc! { "_id": id(before) }).await;
        let number = before.get_i64("extra").ok();
        for (field, later) in [("createdDate", 0), ("updatedDate", 1)] {
            let expected = match number {
                Some(number) => {
                    DateTime::from_millis(1_700_000_000_000 + (number + later) * 1_000).into()
                }
                None => before.get(field).unwrap().clone(),
            };
            assert_eq!(after.get(field), Some(&expected), "{before}");
        }
    }
    for before in &few {
        let after = database.one("projects", doc! { "_id": id(before) }).await;
        assert_eq!(after.get("createdDate"), before.get("createdDate"));
    }
    // A second start finds nothing to do.
    let before = all_content(&database).await;
    migrate(&database).await;
    assert!(all_content(&database).await == before);
}

/// The checksums of released migrations. A change of one of them would stop the migration on every
/// database that has applied it: raise the revision instead, and add the new checksum here.
const RELEASED: [(&str, &str); 10] = [
    ("0000_list_indexes", "7994aaf70297b8eb9ba6ad0818fe8fdbc0274126b3bf0b080ead58df5899a633"),
    ("0001_published_flag", "7026aecae13f57dbca68db8f6b17dc4f3e58a8462547ccbbbe68dfaf4f4a8660"),
    ("0002_story_dates", "7fb4fb474d39d89ef49c9d028d27cefb737cf85015f644fd26b180996be747a5"),
    ("0003_story_slugs", "d0cce2c2357510712f396db4fe30146567a312d847c7d0e0ec549de749d48e48"),
    ("0004_create_admin_user", "b56d8db3101b3bdcafe507916c0f14d83605a21a4dfdf1c5d2a10b4ded3672bd"),
    ("0005_user_id", "101e705f6cf3ec74857693e7b411539a3c680132115a058e1561e0e6ba3d9f32"),
    (BACKFILL, "7034a781b2c3b4023b96a957684088e42f110619607d706329cb1dc17e0b97ab"),
    ("0007_content_indexes", "579f2d12d706bc5ab85f4c17d4b10aa0e83c6ac63a325e270d7bd2cefaea7f12"),
    ("0008_content_dates", "405e15da12b09be5d79c743a63f009dc0ea95f3761a2df4f47cabb18ca18c3d7"),
    ("0009_content_report", "344ff97626d8081181a6d111de17f2ce3ce1ee1dcf19dba6f2b3b396baad27a3"),
];

#[tokio::test]
async fn a_released_migration_keeps_its_checksum() {
    let database = TestDatabase::new().await;
    migrate(&database).await;
    for (id, checksum) in RELEASED {
        let entry = entry(&database, id).await;
        assert_eq!(entry.get_str("checksum").unwrap(), checksum, "{id}");
    }
}
