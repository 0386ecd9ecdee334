//! Lists in every order: forward, backward, by number, and with values that are missing or odd.

use std::cmp::Reverse;

use models::{ContentType, Sort, SortField};
use mongodb::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Random, Service, TestDatabase};

use crate::support::{
    Site, day, each, page, profile, profiled, section, send, story, with, without,
};

async fn get(service: &Service, path: &str) -> Value {
    let (status, body) = service.get_as_editor(path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// The ids of all items of a list, by following one kind of cursor.
async fn follow(service: &Service, path: &str, first: Value, cursor: &str) -> Vec<String> {
    let (mut list, mut pages) = (first, Vec::new());
    loop {
        pages.push(each(&list, "id").into_iter().map(str::to_owned).collect::<Vec<_>>());
        let Some(next) = list[cursor].as_str() else { break };
        assert!(pages.len() < 1_000, "{path}: the walk does not end");
        list = get(service, &format!("{path}&cursor={next}")).await;
    }
    if cursor == "previous_cursor" {
        pages.reverse();
    }
    pages.concat()
}

/// Asserts that all ways through a list give the same items, and returns their ids.
async fn walk(service: &Service, path: &str, size: usize) -> Vec<String> {
    let path = format!("{path}&limit={size}");
    let first = get(service, &path).await;
    assert!(first["previous_cursor"].is_null(), "{path}: {first}");
    let total = usize::try_from(first["total"].as_u64().unwrap()).unwrap();
    let forward = follow(service, &path, first, "next_cursor").await;
    assert_eq!(forward.len(), total, "{path}");
    let mut by_offset = Vec::new();
    let mut last = Value::Null;
    while by_offset.len() < total {
        last = get(service, &format!("{path}&offset={}", by_offset.len())).await;
        by_offset.extend(each(&last, "id").into_iter().map(str::to_owned));
    }
    assert_eq!(by_offset, forward, "{path}");
    let backward = follow(service, &path, last, "previous_cursor").await;
    assert_eq!(backward, forward, "{path}");
    forward
}

/// A value of a date field as existing sites have it, and its milliseconds, if it has a date.
fn random_date(random: &mut Random) -> (Bson, Option<i64>) {
    let date = day(random.below(6) as i64);
    let text = date.try_to_rfc3339_string().unwrap();
    match random.below(12) {
        0 => (text.into(), Some(date.timestamp_millis())),
        1 => ("at dawn".into(), None),
        2 => (Bson::Null, None),
        3 => (vec![Bson::from("2024-01-01")].into(), None),
        4 => (doc! { "year": 2024 }.into(), None),
        _ => (date.into(), Some(date.timestamp_millis())),
    }
}

fn random_title(random: &mut Random) -> Bson {
    match random.below(12) {
        0 => Bson::Null,
        1 => 7.into(),
        2 => vec![Bson::from("list")].into(),
        3 => doc! { "en": "document" }.into(),
        4 => "x".repeat(3_000).into(),
        _ => ["apple", "Apple", "banana", "Éclair", "eclair", "zebra"][random.below(6)].into(),
    }
}

/// The value by which an item is in its place: the date, or the rank of a title. Higher is later.
fn key(document: &Document, field: SortField) -> Option<i64> {
    let value = document.get(field.as_str())?;
    match (field, value) {
        (SortField::Title, Bson::Int32(_)) => Some(0),
        (SortField::Title, Bson::String(title)) => {
            let order = ["apple", "Apple", "banana", "eclair", "Éclair", "x", "zebra"];
            let title = if title.starts_with('x') { "x" } else { title };
            order.iter().position(|one| *one == title).map(|rank| rank as i64 + 1)
        }
        (_, Bson::DateTime(date)) => Some(date.timestamp_millis()),
        (_, Bson::String(text)) => {
            DateTime::parse_rfc3339_str(text).ok().map(DateTime::timestamp_millis)
        }
        _ => None,
    }
}

#[tokio::test]
async fn every_way_through_a_list_of_any_kind_in_any_order_gives_the_same_items() {
    let database = TestDatabase::new().await;
    let mut random = Random(14);
    let mut all = Vec::new();
    for kind in ContentType::ALL {
        let own =
            section(&database, kind.collection(), doc! { "content_type": kind.as_str() }).await;
        let mut documents = Vec::new();
        for number in 0..18 {
            let mut document = with(page("about"), doc! { "slug": number.to_string() });
            document.insert("title", random_title(&mut random));
            for field in ["createdDate", "date", "updatedDate"] {
                match random.below(8) {
                    0 => drop(document.remove(field)),
                    _ => drop(document.insert(field, random_date(&mut random).0)),
                }
            }
            document.insert("is_published", random.below(4) > 0);
            document.insert("section_id", if random.coin() { own.clone() } else { String::new() });
            documents.push(document);
        }
        database.collection(kind.collection()).insert_many(&documents).await.unwrap();
        all.push((kind, own, documents));
    }
    let site = Site::start(&database).await;
    for (kind, own, _) in &all {
        let collection = kind.collection();
        // As they are now: a migration has filled in some dates.
        let mut documents = Vec::new();
        let mut found = database.collection(collection).find(doc! {}).await.unwrap();
        while found.advance().await.unwrap() {
            documents.push(found.deserialize_current().unwrap());
        }
        for sort in Sort::ALL {
            for (query, size) in
                [("include_drafts=true", 5), ("include_drafts=false", 7), ("of a section", 3)]
            {
                let query = match query {
                    "of a section" => format!("section_id={own}"),
                    query => query.to_owned(),
                };
                let path = format!("/{collection}?{query}&sort={}", sort.as_str());
                let walked = walk(&site.content, &path, size).await;
                let is_listed = |document: &&Document| match query.as_str() {
                    "include_drafts=true" => true,
                    "include_drafts=false" => document.get_bool("is_published").unwrap(),
                    _ => {
                        document.get_bool("is_published").unwrap()
                            && document.get_str("section_id").unwrap() == own
                    }
                };
                let id = |document: &Document| document.get_object_id("_id").unwrap().to_hex();
                let mut expected: Vec<_> = documents.iter().filter(is_listed).map(id).collect();
                let mut sorted = walked.clone();
                sorted.sort();
                expected.sort();
                assert_eq!(sorted, expected, "{path}: each item once");
                let keys: Vec<_> = walked
                    .iter()
                    .map(|one| documents.iter().find(|document| id(document) == *one).unwrap())
                    .map(|document| key(document, sort.field()))
                    .collect();
                let is_in_order = match sort.is_descending() {
                    true => keys.is_sorted_by_key(Reverse),
                    false => keys.is_sorted(),
                };
                assert!(is_in_order, "{path}: {keys:?}");
            }
        }
    }
}

#[tokio::test]
async fn titles_are_in_the_order_of_a_dictionary() {
    let database = TestDatabase::new().await;
    let titles =
        ["Zebra", "apple", "Äpfel", "banana", "Apple", "10 apples", "éclair", "Eclair", "ecru"];
    for title in titles {
        let slug = titles.iter().position(|one| *one == title).unwrap().to_string();
        database.insert("stories", [with(story(&slug, day(1)), doc! { "title": title })]).await;
    }
    let untitled = without(story("untitled", day(1)), "title");
    database.insert("stories", [untitled]).await;
    let site = Site::start(&database).await;
    let sorted =
        ["", "10 apples", "Äpfel", "apple", "Apple", "banana", "Eclair", "éclair", "ecru", "Zebra"];
    let list = get(&site.content, "/stories?sort=title&limit=50").await;
    assert_eq!(each(&list, "title"), sorted);
    let reversed: Vec<_> = sorted.into_iter().rev().collect();
    let list = get(&site.content, "/stories?sort=-title&limit=50").await;
    assert_eq!(each(&list, "title"), reversed);
}

#[tokio::test]
async fn a_wrong_order_and_a_cursor_of_another_one_are_named() {
    let database = TestDatabase::new().await;
    database.insert("stories", [0, 1, 2].map(|number| story("s", day(number)))).await;
    let site = Site::start(&database).await;
    let refused = async |path: &str| {
        let (status, body) = site.content.get(path).await;
        assert_eq!(status, 422, "{path}: {body}");
        let error = body["errors"][0].clone();
        (error["field"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    for wrong in ["name", "", "-", "Title", "createddate", "--title", "title,-date", "%2Btitle"] {
        let (field, message) = refused(&format!("/stories?sort={wrong}")).await;
        assert_eq!(field, "sort", "{message}");
        for sort in Sort::ALL {
            assert!(message.contains(&format!("`{}`", sort.as_str())), "{message}");
        }
    }
    for sort in Sort::ALL {
        let list = get(&site.content, &format!("/stories?limit=1&sort={}", sort.as_str())).await;
        let cursor = list["next_cursor"].as_str().unwrap();
        for other in Sort::ALL.into_iter().filter(|other| *other != sort) {
            let path = format!("/stories?sort={}&cursor={cursor}", other.as_str());
            let (field, message) = refused(&path).await;
            assert_eq!(field, "cursor");
            for sort in [sort, other] {
                assert!(message.contains(&format!("`sort={}`", sort.as_str())), "{message}");
            }
        }
    }
    let (field, _) = refused("/stories?cursor=bm90aGluZw").await;
    assert_eq!(field, "cursor");
}

#[tokio::test]
async fn a_cursor_of_either_direction_works_when_its_item_is_gone() {
    let database = TestDatabase::new().await;
    let long = "x".repeat(2_000);
    for (number, title) in ["a", &long, "y", "z"].into_iter().enumerate() {
        let slug = number.to_string();
        database.insert("stories", [with(story(&slug, day(1)), doc! { "title": title })]).await;
    }
    let site = Site::start(&database).await;
    let at = async |path: &str| get(&site.content, path).await;
    let list = at("/stories?sort=title&limit=1&offset=1").await;
    assert_eq!(each(&list, "slug"), ["1"]);
    let cursor = |name: &str| list[name].as_str().unwrap().to_owned();
    let (next, previous) = (cursor("next_cursor"), cursor("previous_cursor"));
    let rest = async || {
        let next = at(&format!("/stories?sort=title&cursor={next}")).await;
        let previous = at(&format!("/stories?sort=title&cursor={previous}")).await;
        let slugs =
            |list: &Value| each(list, "slug").into_iter().map(str::to_owned).collect::<Vec<_>>();
        (slugs(&previous), slugs(&next))
    };
    let expected = (vec!["0".to_owned()], vec!["2".to_owned(), "3".to_owned()]);
    assert_eq!(rest().await, expected);
    database.collection("stories").delete_one(doc! { "slug": "1" }).await.unwrap();
    assert_eq!(rest().await, expected);
}

#[tokio::test]
async fn an_edit_moves_an_item_to_its_new_place() {
    let database = TestDatabase::new().await;
    for (slug, number) in [("a", 1), ("b", 2), ("c", 3)] {
        let odd = doc! { "updatedDate": day(number).try_to_rfc3339_string().unwrap() };
        database.insert("stories", [with(story(slug, day(number)), odd)]).await;
    }
    let site = Site::start(&database).await;
    let order = async |sort: &str| {
        let list = get(&site.content, &format!("/stories?sort={sort}")).await;
        each(&list, "slug").concat()
    };
    assert_eq!((order("-updatedDate").await, order("title").await), ("cba".into(), "abc".into()));
    let story = database.one("stories", doc! { "slug": "a" }).await;
    let id = story.get_object_id("_id").unwrap().to_hex();
    let url = format!("{}/stories/{id}", site.content.url);
    let (status, _, _) = send("PATCH", &url, &[], &json!({ "title": "Zoo" })).await;
    assert_eq!(status, 200);
    // At once: its date is a date now, and was text.
    assert_eq!((order("-updatedDate").await, order("title").await), ("acb".into(), "bca".into()));
    assert_eq!(order("updatedDate").await, "bca");
}

#[tokio::test]
async fn a_page_of_any_order_is_read_from_an_index_however_deep_it_is() {
    let database = TestDatabase::new().await;
    let date = |number: i64| day(number / 700);
    let stories = (0..2_000_i64).map(|number| {
        let title = format!("Title {}", number % 5);
        let dates = doc! { "title": title, "date": date(number), "updatedDate": date(number) };
        with(story(&number.to_string(), date(number)), dates)
    });
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    let blog = crate::support::section_id(&database, "blog").await;
    for sort in Sort::ALL {
        for list in ["/stories?".to_owned(), format!("/stories?section_id={blog}&")] {
            let path = format!("{list}sort={}&limit=10", sort.as_str());
            let deep = get(&site.content, &format!("{path}&offset=1800")).await;
            profile(&database, 2).await;
            for cursor in ["next_cursor", "previous_cursor"] {
                let cursor = deep[cursor].as_str().unwrap();
                let page = get(&site.content, &format!("{path}&cursor={cursor}")).await;
                assert_eq!(each(&page, "id").len(), 10);
            }
            profile(&database, 0).await;
            let finds = doc! { "command.find": "stories", "command.limit": 11 };
            let finds = profiled(&database, finds).await;
            assert_eq!(finds.len(), 2);
            for find in finds {
                let examined = |field| find.get_i32(field).unwrap();
                assert!(examined("docsExamined") <= 40, "{path}: {find:#?}");
                assert!(examined("keysExamined") <= 60, "{path}: {find:#?}");
                assert!(!find.get_bool("hasSortStage").unwrap_or_default(), "{path}: {find:#?}");
            }
            database.collection("system.profile").drop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn ids_that_are_texts_are_walked_over_in_the_order_of_titles() {
    let database = TestDatabase::new().await;
    let ids = [Bson::from("a"), "A".into(), "b".into(), 7.into(), ObjectId::new().into()];
    for (number, id) in (0..).zip(ids) {
        let same = doc! { "_id": id, "title": "Same" };
        database.insert("stories", [with(story(&number.to_string(), day(1)), same)]).await;
    }
    let site = Site::start(&database).await;
    for sort in ["title", "-title"] {
        let mut slugs =
            crate::support::walk(&site.content, &format!("/stories?sort={sort}&limit=1")).await;
        slugs.sort();
        assert_eq!(slugs, ["0", "1", "2", "3", "4"]);
    }
}
