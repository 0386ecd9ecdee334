//! The rules of the migrations, by name.

use mongodb::bson::{Bson, DateTime, Document, doc};
use test_support::{Service, TestDatabase, migration_id, settings};

async fn migrate(database: &TestDatabase) {
    let service = Service::sections(&settings(database, &[])).await;
    service.migrated().await;
    service.stop().await.unwrap();
}

async fn index(database: &TestDatabase, name: &str) -> Option<Document> {
    let answer = database.database().run_command(doc! { "listIndexes": "sections" }).await.unwrap();
    let cursor = answer.get_document("cursor").unwrap();
    let indexes = cursor.get_array("firstBatch").unwrap().iter();
    indexes
        .filter_map(Bson::as_document)
        .find(|index| index.get_str("name").unwrap() == name)
        .cloned()
}

#[tokio::test]
async fn an_empty_database_gets_the_four_sections() {
    let database = TestDatabase::new().await;
    let before = DateTime::now();
    migrate(&database).await;

    let expected = [
        ("Blog", "blog", "feed", "story"),
        ("About", "about", "static-page", "page"),
        ("Projects", "projects", "card-grid", "project"),
        ("Contact", "contact", "static-page", "page"),
    ];
    assert_eq!(database.count("sections", doc! {}).await, 4);
    for (order, (title, slug, display_type, content_type)) in (0_i32..).zip(expected) {
        let mut section = database.one("sections", doc! { "slug": slug }).await;
        section.get_object_id("_id").unwrap();
        section.remove("_id");
        for field in ["createdDate", "updatedDate"] {
            let date = *section.get_datetime(field).unwrap();
            assert!(before <= date && date <= DateTime::now(), "{field}: {date}");
            section.remove(field);
        }
        let expected = doc! {
            "title": title, "slug": slug, "parent_id": null, "display_type": display_type,
            "content_type": content_type, "nav_visibility": "main", "sort_order": order,
            "is_published": true, "is_deleted": false,
        };
        assert_eq!(section, expected);
    }
}

#[tokio::test]
async fn a_second_run_writes_nothing() {
    let database = TestDatabase::new().await;
    migrate(&database).await;
    let before = database.hash().await;
    migrate(&database).await;
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn nothing_is_seeded_where_a_section_is_not_deleted() {
    let database = TestDatabase::new().await;
    database.insert("sections", [doc! { "slug": "news", "is_deleted": false }]).await;
    migrate(&database).await;
    assert_eq!(database.count("sections", doc! {}).await, 1);
}

#[tokio::test]
async fn a_section_from_before_deletion_existed_counts_as_not_deleted() {
    let database = TestDatabase::new().await;
    database.insert("sections", [doc! { "slug": "news", "extra": [1, { "a": null }] }]).await;
    migrate(&database).await;
    let section = database.one("sections", doc! {}).await;
    assert!(!section.get_bool("is_deleted").unwrap());
    assert_eq!(section.get_array("extra").unwrap().len(), 2);
}

#[tokio::test]
async fn the_four_are_seeded_where_all_sections_are_deleted() {
    let database = TestDatabase::new().await;
    database.insert("sections", [doc! { "slug": "blog", "is_deleted": true }]).await;
    migrate(&database).await;
    assert_eq!(database.count("sections", doc! { "is_deleted": false }).await, 4);
    assert_eq!(database.count("sections", doc! { "slug": "blog" }).await, 2);
}

#[tokio::test]
async fn a_slug_is_unique_among_the_sections_that_are_not_deleted() {
    let database = TestDatabase::new().await;
    migrate(&database).await;
    let sections = database.collection("sections");
    let deleted = doc! { "slug": "blog", "is_deleted": true };
    sections.insert_many([deleted.clone(), deleted]).await.unwrap();
    let twin = sections.insert_one(doc! { "slug": "blog", "is_deleted": false }).await;
    assert!(mongo_kit::is_duplicate_key(&twin.unwrap_err()));
}

#[tokio::test]
async fn siblings_have_an_index_in_their_order() {
    let database = TestDatabase::new().await;
    migrate(&database).await;
    let index = index(&database, "parent_id_1_sort_order_1").await.unwrap();
    assert_eq!(index.get_document("key").unwrap(), &doc! { "parent_id": 1, "sort_order": 1 });
}

#[tokio::test]
async fn duplicate_slugs_keep_the_service_from_being_ready_and_are_named() {
    let database = TestDatabase::new().await;
    let twin = doc! { "slug": "news", "is_deleted": false };
    database.insert("sections", [twin.clone(), twin]).await;
    let service = Service::sections(&settings(&database, &[])).await;
    service
        .wait_for("the migration fails", |all| {
            all[0].message.as_deref().is_some_and(|message| message.contains("news"))
        })
        .await;
    let (status, body) = service.get("/health/ready").await;
    assert_eq!(status, 503);
    assert_eq!(body["checks"]["migrations"]["status"], "failed");
    let (status, body) = service.get("/sections").await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (503, Some("not_ready")));
    let entry =
        database.one("sections_migrations", doc! { "_id": migration_id("section_indexes") }).await;
    assert_eq!(entry.get_str("state").unwrap(), "failed_fatal");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn the_ledger_records_the_owner_the_changes_and_the_times() {
    let database = TestDatabase::new().await;
    migrate(&database).await;
    let seed = doc! { "_id": migration_id("seed_initial_sections") };
    let entry = database.one("sections_migrations", seed).await;
    assert_eq!(entry.get_str("state").unwrap(), "applied");
    assert_eq!(entry.get_str("kind").unwrap(), "seed");
    assert_eq!(entry.get_i64("attempts").unwrap(), 1);
    assert!(entry.get_i64("fence").unwrap() > 0);
    assert!(!entry.get_str("owner").unwrap().is_empty());
    assert!(
        entry.get_datetime("started_at").unwrap() <= entry.get_datetime("finished_at").unwrap()
    );
    let part = entry.get_array("parts").unwrap()[0].as_document().unwrap();
    assert_eq!(part.get_i64("modified").unwrap(), 4);
    assert_eq!(entry.get_array("history").unwrap().len(), 1);
}

async fn race(replicas: usize) {
    let database = TestDatabase::new().await;
    let settings = settings(&database, &[]);
    let services: Vec<_> = (0..replicas).map(|_| Service::sections(&settings)).collect();
    let mut running = Vec::new();
    for service in services {
        running.push(service.await);
    }
    for service in &running {
        service.migrated().await;
    }
    assert_eq!(database.count("sections", doc! {}).await, 4);
    let once = doc! { "state": "applied", "attempts": 1_i64 };
    let all = database.count("sections_migrations", doc! {}).await;
    assert_eq!((database.count("sections_migrations", once).await, all > 0), (all, true));
    for service in running {
        service.stop().await.unwrap();
    }
}

#[tokio::test]
async fn two_replicas_that_start_together_give_the_result_of_one() {
    race(2).await;
}

#[tokio::test]
async fn six_replicas_that_start_together_give_the_result_of_one() {
    race(6).await;
}

/// The checksums of released migrations. A change of one of them would stop the migration on every
/// database that has applied it: raise the revision instead, and add the new checksum here.
const RELEASED: [(&str, &str); 4] = [
    ("0001_section_indexes", "9de5914b3495d5cfba3eb98b567e38f8b63430dfe586b035c8b83911a84d7de3"),
    (
        "0002_seed_initial_sections",
        "90a9e661f2cb840ca0e8d2e4dca2915ebf132c4efc3c6f27adb567358d142418",
    ),
    ("0003_section_redirects", "7fa2e2e52c605bb31ed2b3dfefcce9a0ad0b6a0218c8de345f794d45735b1350"),
    ("0004_section_report", "899081653b2e0290323dc8415764c80668d81bfe46b7584c09826a1ded5651ea"),
];

#[tokio::test]
async fn a_released_migration_keeps_its_checksum() {
    let database = TestDatabase::new().await;
    migrate(&database).await;
    for (id, checksum) in RELEASED {
        let entry = database.one("sections_migrations", doc! { "_id": id }).await;
        assert_eq!(entry.get_str("checksum").unwrap(), checksum, "{id}");
    }
}
