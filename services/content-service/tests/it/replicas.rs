//! Several replicas that start together on a database that nobody has migrated.

use std::collections::HashSet;

use futures_util::{TryStreamExt, future::join_all};
use mongodb::bson::{Document, doc};
use test_support::{Service, TestDatabase, migration_id, settings};

use crate::support::{changed, content, day, page, project, section_id, story, without};

async fn race(replicas: usize) {
    let database = TestDatabase::new().await;
    let untitled = |_| without(without(story("x", day(1)), "slug"), "is_published");
    database.collection("stories").insert_many((0..2_500).map(untitled)).await.unwrap();
    let projects = (0..300).map(|number| project(&format!("p-{number}")));
    database.collection("projects").insert_many(projects).await.unwrap();
    database.insert("pages", [page("about"), page("contact"), page("imprint")]).await;

    let sections = Service::sections(&settings(&database, &[])).await;
    let admin = [("admin.email", "admin@example.org")];
    let running = join_all((0..replicas).map(|_| content(&database, &sections.url, &admin))).await;
    for service in &running {
        service.migrated().await;
    }

    let once = doc! { "state": "applied", "attempts": 1_i64, "history": { "$size": 1 } };
    // Where sections-service was not ready yet the sixth waited, which is no attempt.
    let all = database.count("content_migrations", doc! {}).await;
    assert_eq!((database.count("content_migrations", once).await, all > 0), (all, true));
    assert_eq!(database.count("users", doc! {}).await, 1);
    let admin = database.one("users", doc! {}).await.get_object_id("_id").unwrap().to_hex();
    let blog = section_id(&database, "blog").await;
    let done = doc! { "section_id": blog, "is_published": true, "user_id": admin };
    assert_eq!(database.count("stories", done).await, 2_500);
    let slugs: Vec<Document> =
        database.collection("stories").find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let slugs: HashSet<_> = slugs.iter().map(|story| story.get_str("slug").unwrap()).collect();
    assert_eq!(slugs.len(), 2_500);
    for (id, what, count) in [
        (migration_id("published_flag"), "stories without is_published become public", 2_500),
        (migration_id("story_slugs"), "stories without slug ← title", 2_500),
        (migration_id("create_admin_user"), "the admin", 1),
        (migration_id("user_id"), "projects without user_id → the admin", 300),
        (migration_id("backfill_section_id"), "stories → section blog", 2_500),
        (migration_id("backfill_section_id"), "projects → section projects", 300),
        (migration_id("backfill_section_id"), "pages of type about → section about", 1),
    ] {
        assert_eq!(changed(&database, id).await[what], count, "{id}");
    }
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
