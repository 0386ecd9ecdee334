//! A sections-service that is unreachable or faulty, and sections that change during the backfill.

use futures_util::future::join_all;
use migrations::{State, Status};
use mongodb::bson::{Document, doc};
use test_support::{Fault, Service, TestDatabase, Unreliable, migration_id, settings};

use crate::{
    accounts::{Tally, journaled, repeated, rounds, signed},
    sites::{BACKFILL, Site, ready_for_backfill, slowly, stories},
};

const STORIES: u32 = 300;

/// sections-service behind something that is at fault: content-service serves, waits without
/// spending an attempt, and finishes by itself when it is well again.
/// The status of the backfill.
fn backfill(all: &[Status]) -> &Status {
    all.iter().find(|status| status.id == BACKFILL).unwrap()
}

async fn waits_out(fault: Option<Fault>, reason: &str) -> Tally {
    let database = TestDatabase::new().await;
    database.collection("stories").insert_many(stories(0..STORIES)).await.unwrap();
    let mut sections = Some(Service::sections(&settings(&database, &[])).await);
    let url = sections.as_ref().unwrap().url.clone();
    sections.as_ref().unwrap().migrated().await;
    let between = Unreliable::start(fault.unwrap_or(Fault::IsCut), &url).await;
    let port = url.rsplit(':').next().unwrap().to_owned();
    let sections_url = match fault {
        Some(_) => between.url.clone(),
        None => {
            // Not at fault but down.
            sections.take().unwrap().stop().await.unwrap();
            url
        }
    };
    let content = Service::content(&settings(&database, &[("sections.url", &sections_url)])).await;

    content.wait_for("it waits", |all| backfill(all).state == State::WaitingDependency).await;
    let message = backfill(&content.statuses()).message.clone().unwrap();
    assert!(message.contains(reason), "{message}");
    let waiting = doc! { "_id": BACKFILL, "state": "waiting_dependency", "attempts": null };
    assert_eq!(database.count("content_migrations", waiting).await, 1);
    assert_eq!(database.count("stories", doc! { "section_id": { "$exists": true } }).await, 0);
    assert_eq!(content.get("/health/ready").await.0, 200);

    between.heal();
    let _again = match sections {
        Some(sections) => sections,
        None => Service::sections(&settings(&database, &[("server.port", &port)])).await,
    };
    content.migrated().await;
    account(&database).await
}

/// After a single attempt everything is linked.
async fn account(database: &TestDatabase) -> Tally {
    let once = doc! { "_id": BACKFILL, "state": "applied", "attempts": 1_i64 };
    assert_eq!(database.count("content_migrations", once).await, 1);
    let blog = database.one("sections", doc! { "slug": "blog" }).await;
    let linked = doc! { "section_id": blog.get_object_id("_id").unwrap().to_hex() };
    let changes = journaled(database.database(), "content", BACKFILL).await;
    Tally::counted(STORIES.into(), signed(database.count("stories", linked).await))
        .and(Tally::counted(STORIES.into(), signed(changes.len())))
        .and(Tally::round(0, repeated(&changes)))
}

pub(crate) async fn a_sections_service_that_is_away_or_at_fault_is_waited_for() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let faults = [
            (None, "does not answer"),
            (Some(Fault::Answers("500 Internal Server Error", "oops")), "500"),
            (Some(Fault::IsSilent), "does not answer"),
            (Some(Fault::IsCut), "does not answer"),
            (Some(Fault::Answers("200 OK", "<html>Welcome</html>")), "sections.url"),
        ];
        for one in join_all(faults.map(|(fault, reason)| waits_out(fault, reason))).await {
            tally += one;
        }
    }
    tally
}

/// Content of every kind, on a site on which everything before the backfill is applied.
async fn site_of_all_kinds() -> Site {
    let site = ready_for_backfill(Site::new().await, STORIES).await;
    let published = doc! { "title": "T", "is_published": true };
    let with = |fields: Document| {
        let mut document = published.clone();
        document.extend(fields);
        document
    };
    let projects = (0..20).map(|number| with(doc! { "slug": format!("p-{number}") }));
    site.collection("projects").insert_many(projects).await.unwrap();
    let pages = ["about", "contact"].map(|kind| with(doc! { "page_type": kind }));
    site.collection("pages").insert_many(pages).await.unwrap();
    site
}

/// Returns the number of documents of a collection that are linked to a section.
async fn linked(site: &Site, collection: &str, section: &str) -> i64 {
    site.count(collection, doc! { "section_id": section }).await
}

/// Returns the documents that the backfill skipped, with their number.
async fn left_out(site: &Site) -> Vec<(String, i64)> {
    let left_out = site.entry(BACKFILL).await.skipped;
    left_out.into_iter().map(|one| (one.step.to_string(), one.count)).collect()
}

/// Returns the number of recorded changes.
async fn recorded(site: &Site, count: i64) -> Tally {
    let changes = journaled(&site.database, "content", BACKFILL).await;
    let entry = site.entry(BACKFILL).await;
    Tally::counted(count, signed(changes.len()))
        .and(Tally::counted(count, entry.journaled))
        .and(Tally::round(0, repeated(&changes)))
}

pub(crate) async fn without_a_section_the_other_parts_go_on_and_the_next_start_links() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = site_of_all_kinds().await;
        let sections = site.collection("sections");
        let missing = sections.find_one_and_delete(doc! { "slug": "blog" });
        let missing = missing.await.unwrap().unwrap();

        site.run(&["migrate", "up"]).await.success();
        let count = i64::from(STORIES);
        assert_eq!(left_out(&site).await, [("stories → section blog".to_owned(), count)]);
        let projects = site.section("projects").await;
        assert_eq!(linked(&site, "projects", &projects).await, 20);
        assert_eq!(linked(&site, "pages", &site.section("about").await).await, 1);
        assert_eq!(site.entry(migration_id("content_indexes")).await.state, State::Applied);

        sections.insert_one(missing).await.unwrap();
        let up = site.start(&["up", "--port", "0"]);
        up.ready().await;
        up.stop().await;
        assert_eq!(left_out(&site).await, []);
        let blog = site.section("blog").await;
        tally += Tally::counted(count, linked(&site, "stories", &blog).await)
            .and(recorded(&site, count + 22).await);
    }
    tally
}

/// Runs the backfill slowly, and changes the section of stories during the run.
async fn change_meanwhile(change: Document) -> (Site, String) {
    let site = site_of_all_kinds().await;
    let blog = site.section("blog").await;
    let backfill = site.start(&slowly("300"));
    site.backfill_moves().await;
    let sections = site.collection("sections");
    sections.update_one(doc! { "slug": "blog" }, doc! { "$set": change }).await.unwrap();
    backfill.ended().await.success();
    assert_eq!(site.entry(BACKFILL).await.state, State::Applied);
    assert_eq!(linked(&site, "projects", &site.section("projects").await).await, 20);
    (site, blog)
}

pub(crate) async fn a_section_that_is_renamed_meanwhile_keeps_its_content() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let (site, blog) = change_meanwhile(doc! { "slug": "journal" }).await;
        let count = i64::from(STORIES);
        assert_eq!(left_out(&site).await, []);
        let kept = Tally::counted(count, linked(&site, "stories", &blog).await);

        // What comes later has no section of that slug, until there is one again.
        site.collection("stories").insert_many(stories(STORIES..STORIES + 5)).await.unwrap();
        site.run(&["migrate", "up", "--to", BACKFILL]).await.success();
        assert_eq!(left_out(&site).await, [("stories → section blog".to_owned(), 5)]);
        let back = doc! { "$set": { "slug": "blog" } };
        site.collection("sections").update_one(doc! { "slug": "journal" }, back).await.unwrap();
        site.run(&["migrate", "up", "--to", BACKFILL]).await.success();
        assert_eq!(left_out(&site).await, []);
        tally += Tally::counted(count + 5, linked(&site, "stories", &blog).await)
            .and(kept)
            .and(recorded(&site, count + 5 + 22).await);
    }
    tally
}

pub(crate) async fn a_section_that_is_deleted_meanwhile_is_reported() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let (site, blog) = change_meanwhile(doc! { "is_deleted": true }).await;
        let count = i64::from(STORIES);
        let orphans = "stories in a deleted section".to_owned();
        assert_eq!(left_out(&site).await, [(orphans.clone(), count)]);
        let verified = site.run(&["migrate", "verify"]).await;
        assert!(verified.stdout.contains(&orphans), "{verified:#?}");
        let kept = Tally::counted(count, linked(&site, "stories", &blog).await);

        // The next start links what came later to the section that there is then.
        let mut new = doc! { "title": "Blog", "slug": "blog", "parent_id": null };
        new.extend(doc! { "display_type": "feed", "content_type": "story", "sort_order": 9 });
        new.extend(doc! { "nav_visibility": "main", "is_published": true, "is_deleted": false });
        site.collection("sections").insert_one(new).await.unwrap();
        site.collection("stories").insert_many(stories(STORIES..STORIES + 5)).await.unwrap();
        site.run(&["migrate", "up", "--to", BACKFILL]).await.success();
        assert_eq!(left_out(&site).await, [(orphans, count)]);
        let new = site.section("blog").await;
        assert_ne!(new, blog);
        tally += Tally::counted(5, linked(&site, "stories", &new).await)
            .beside(kept)
            .and(recorded(&site, count + 5 + 22).await);
    }
    tally
}
