//! Lists: their order, their pages, their totals, and what decides who is on them.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mongodb::bson::{
    self, Binary, Bson, DateTime, Document, Regex, Timestamp, doc, oid::ObjectId,
    spec::BinarySubtype,
};
use test_support::{Service, TestDatabase};

use crate::support::{
    Site, day, each, heard, page, profile, profiled, project, section_id, story, walk, with,
    without,
};

/// The slugs of the whole list by pages of this size, entered by number.
async fn by_offset(service: &Service, path: &str, size: usize) -> Vec<String> {
    let mut slugs = Vec::new();
    loop {
        let offset = slugs.len();
        let (status, body) = service.get(&format!("{path}&limit={size}&offset={offset}")).await;
        assert_eq!((status.as_u16(), &body["offset"]), (200, &offset.into()));
        let page = each(&body, "slug");
        let is_last = (offset + page.len()) as u64 >= body["total"].as_u64().unwrap();
        assert_eq!(body["next_cursor"].is_null(), is_last);
        if page.is_empty() {
            return slugs;
        }
        slugs.extend(page.into_iter().map(str::to_owned));
    }
}

/// Every way to page through a list gives this order.
async fn assert_order(service: &Service, path: &str, expected: &[&str]) {
    for size in [1, 2, 3, 7, 50] {
        assert_eq!(by_offset(service, path, size).await, expected, "by offset, {size} a page");
        let path = format!("{path}&limit={size}");
        assert_eq!(walk(service, &path).await, expected, "by cursor, {size} a page");
    }
    assert_eq!(service.get(path).await.1["total"], expected.len());
}

#[tokio::test]
async fn the_newest_come_first_and_of_the_same_date_the_highest_id() {
    let database = TestDatabase::new().await;
    let stories = [("a", 3), ("b", 1), ("c", 3), ("d", 2), ("e", 3), ("f", 5)];
    for (number, (slug, date)) in (1_u8..).zip(stories) {
        let mut id = [0; 12];
        id[0] = number;
        let story = with(story(slug, day(date)), doc! { "_id": ObjectId::from_bytes(id) });
        database.insert("stories", [story]).await;
    }
    let site = Site::start(&database).await;
    assert_order(&site.content, "/stories?", &["f", "e", "c", "a", "d", "b"]).await;
}

#[tokio::test]
async fn a_date_kept_as_text_is_in_its_place() {
    let database = TestDatabase::new().await;
    let undated = without(story("undated", day(0)), "createdDate");
    database
        .insert(
            "stories",
            [
                story("9", day(9)),
                story("8-text", "2024-01-09T00:00:00Z"),
                story("7", day(7)),
                story("6-text", "2024-01-07T02:00:00+02:00"),
                story("6", day(6)),
                story("5", day(5)),
                story("4", day(4)),
                story("3-text", "2024-01-04T00:00:00.000Z"),
                story("0-text", "2024-01-01T00:00:00Z"),
                with(undated, doc! { "_id": ObjectId::from_bytes([2; 12]) }),
                with(story("null", Bson::Null), doc! { "_id": ObjectId::from_bytes([1; 12]) }),
                // Neither of these is on the list.
                with(story("draft", "2024-01-06T00:00:00Z"), doc! { "is_published": false }),
                with(story("trash", "2024-01-06T00:00:00Z"), doc! { "deleted": true }),
            ],
        )
        .await;
    let site = Site::start(&database).await;
    let expected =
        ["9", "8-text", "7", "6-text", "6", "5", "4", "3-text", "0-text", "undated", "null"];
    assert_order(&site.content, "/stories?", &expected).await;
    assert_order(&site.content, "/stories?section=blog", &expected).await;
    let (_, list) = site.content.get("/stories?limit=2").await;
    assert_eq!(list["items"][1]["createdDate"], "2024-01-09T00:00:00.000Z");
}

#[tokio::test]
async fn a_cursor_works_when_its_item_is_gone() {
    let database = TestDatabase::new().await;
    database
        .insert(
            "stories",
            [
                story("5", day(5)),
                story("4-text", "2024-01-05T00:00:00Z"),
                story("3", day(3)),
                story("2", day(2)),
            ],
        )
        .await;
    let site = Site::start(&database).await;
    for (size, gone, rest) in
        [(1, "5", ["4-text", "3", "2"].as_slice()), (1, "4-text", &["3", "2"])]
    {
        let (_, list) = site.content.get(&format!("/stories?limit={size}")).await;
        assert_eq!(each(&list, "slug"), [gone]);
        let cursor = list["next_cursor"].as_str().unwrap();
        database.collection("stories").delete_one(doc! { "slug": gone }).await.unwrap();
        let (_, list) = site.content.get(&format!("/stories?limit=50&cursor={cursor}")).await;
        assert_eq!(each(&list, "slug"), rest);
        test_support::eventually("the list is without it", async || {
            each(&site.content.get("/stories").await.1, "slug") == rest
        })
        .await;
    }
}

#[tokio::test]
async fn items_that_come_meanwhile_do_not_disturb_a_walk() {
    let database = TestDatabase::new().await;
    let stories = (0..20).map(|number| story(&number.to_string(), day(number)));
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    let (_, first) = site.content.get("/stories?limit=10").await;
    database.insert("stories", [story("new", day(100)), story("newer", day(101))]).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let (_, second) = site.content.get(&format!("/stories?limit=10&cursor={cursor}")).await;
    let expected: Vec<_> = (0..20).rev().map(|number: i32| number.to_string()).collect();
    assert_eq!([each(&first, "slug"), each(&second, "slug")].concat(), expected);
    assert!(second["next_cursor"].is_null());
}

#[tokio::test]
async fn ids_of_any_type_can_be_walked_over() {
    let database = TestDatabase::new().await;
    let uuid = |subtype, byte| Bson::from(Binary { subtype, bytes: vec![byte; 16] });
    let ids = [
        Bson::from(ObjectId::new()),
        "text".into(),
        7.into(),
        7.5.into(),
        f64::INFINITY.into(),
        uuid(BinarySubtype::Uuid, 1),
        uuid(BinarySubtype::UuidOld, 2),
        // No address leads to these.
        doc! { "a": 1 }.into(),
        doc! {}.into(),
        DateTime::now().into(),
        true.into(),
        Bson::MinKey,
        Bson::Null,
        uuid(BinarySubtype::Generic, 3),
        uuid(BinarySubtype::Md5, 0),
        Binary { subtype: BinarySubtype::Uuid, bytes: vec![1; 15] }.into(),
        Binary { subtype: BinarySubtype::Uuid, bytes: vec![1; 17] }.into(),
    ];
    let readable = 7;
    for (number, id) in (0..).zip(&ids) {
        let story = story(&number.to_string(), day(1));
        database.insert("stories", [with(story, doc! { "_id": id.clone() })]).await;
    }
    let site = Site::start(&database).await;
    for drafts in [false, true] {
        let path = format!("/stories?include_drafts={drafts}");
        assert_eq!(site.content.get_as_editor(&path).await.1["total"], readable);
    }
    for size in [1, 2, 3] {
        let mut walked = walk(&site.content, &format!("/stories?limit={size}")).await;
        walked.sort();
        assert_eq!(walked, (0..readable).map(|number| number.to_string()).collect::<Vec<_>>());
    }
    for number in 0..readable {
        let (status, _) = site.content.get(&format!("/stories/slug/{number}")).await;
        assert_eq!(status, 200, "{number}");
    }
    assert_eq!(site.content.get("/stories/slug/9").await.0, 404);
}

#[tokio::test]
async fn dates_of_any_type_can_be_walked_over() {
    let database = TestDatabase::new().await;
    let dates = [
        Bson::from(day(3)),
        "2024-01-03T00:00:00Z".into(),
        "no date".into(),
        5.into(),
        doc! { "a": 1 }.into(),
        vec![Bson::from(1)].into(),
        Bson::Array(Vec::new()),
        Bson::MinKey,
        Bson::MaxKey,
        Bson::Null,
        Timestamp { time: 1, increment: 1 }.into(),
        day(1).into(),
        Bson::RegularExpression(Regex {
            pattern: "a".try_into().unwrap(),
            options: "".try_into().unwrap(),
        }),
    ];
    for (number, date) in (0..).zip(dates) {
        database.insert("stories", [story(&number.to_string(), date)]).await;
    }
    let site = Site::start(&database).await;
    // Those that are no date come last.
    for size in [1, 2, 3, 50] {
        let walked = walk(&site.content, &format!("/stories?limit={size}")).await;
        assert_eq!(walked.len(), 13, "{walked:?}");
        assert_eq!(walked[..4], ["0", "1", "11", "10"], "{size}: {walked:?}");
        let mut by_offset = Vec::new();
        for offset in (0..13).step_by(size) {
            let (_, list) =
                site.content.get(&format!("/stories?limit={size}&offset={offset}")).await;
            by_offset.extend(each(&list, "slug").into_iter().map(str::to_owned));
        }
        assert_eq!(by_offset, walked, "{size}");
    }
}

fn without_one<'a>(all: &[&'a str], one: &str) -> Vec<&'a str> {
    all.iter().copied().filter(|other| *other != one).collect()
}

#[tokio::test]
async fn a_list_has_what_is_published_and_not_deleted() {
    let database = TestDatabase::new().await;
    let other = |slug: &str, fields: Document| with(story(slug, day(1)), fields);
    for kind in ["stories", "projects"] {
        database
            .insert(
                kind,
                [
                    story("published", day(1)),
                    other("draft", doc! { "is_published": false }),
                    other("trash", doc! { "deleted": true }),
                    other("kept", doc! { "deleted": false }),
                    other("text", doc! { "is_published": "true" }),
                    other("number", doc! { "is_published": 1 }),
                    other("zero", doc! { "is_published": 0 }),
                    other("list", doc! { "is_published": [true] }),
                    other("trash-text", doc! { "deleted": "true" }),
                    other("maybe-published", doc! { "is_published": "maybe" }),
                    other("maybe-deleted", doc! { "deleted": day(1) }),
                ],
            )
            .await;
    }
    database.insert("projects", [project("says-nothing")]).await;
    let site = Site::start(&database).await;
    let sorted = async |path: &str| {
        let (_, list) = site.content.get_as_editor(path).await;
        let mut slugs: Vec<_> = each(&list, "slug").into_iter().map(str::to_owned).collect();
        slugs.sort();
        slugs
    };
    let public = ["kept", "number", "published", "says-nothing", "text"];
    assert_eq!(sorted("/stories").await, without_one(&public, "says-nothing"));
    assert_eq!(sorted("/projects").await, public);
    // Editors see what is hidden because nobody can tell whether it is published or deleted.
    let all = [
        "draft",
        "kept",
        "list",
        "maybe-deleted",
        "maybe-published",
        "number",
        "published",
        "says-nothing",
        "text",
        "zero",
    ];
    let stories = sorted("/stories?include_drafts=true").await;
    assert_eq!(stories, without_one(&all, "says-nothing"));
    assert_eq!(sorted("/projects?include_drafts=true").await, all);
    for (path, total) in [
        ("/stories", 4),
        ("/projects", 5),
        ("/stories?include_drafts=true", 9),
        ("/projects?include_drafts=true", 10),
    ] {
        assert_eq!(site.content.get_as_editor(path).await.1["total"], total, "{path}");
    }
    let hidden =
        ["draft", "trash", "trash-text", "zero", "list", "maybe-deleted", "maybe-published"];
    for slug in hidden {
        for kind in ["stories", "projects"] {
            let (status, body) = site.content.get(&format!("/{kind}/slug/{slug}")).await;
            assert_eq!(status, 404, "{kind} {slug}: {body}");
        }
    }
}

#[tokio::test]
async fn the_total_of_a_public_list_does_not_count_drafts() {
    let database = TestDatabase::new().await;
    let draft = doc! { "is_published": false };
    for kind in ["stories", "projects", "pages"] {
        let documents =
            (0..10).map(|number| with(page("about"), doc! { "slug": number.to_string() }));
        database.collection(kind).insert_many(documents).await.unwrap();
        let drafts = (0..5).map(|_| with(page("about"), draft.clone()));
        database.collection(kind).insert_many(drafts).await.unwrap();
    }
    let site = Site::start(&database).await;
    for kind in ["stories", "projects", "pages"] {
        assert_eq!(site.content.get_as_editor(&format!("/{kind}")).await.1["total"], 10);
        let path = format!("/{kind}?include_drafts=true&limit=1");
        assert_eq!(site.content.get_as_editor(&path).await.1["total"], 15);
        let (status, body) = site.content.get(&path).await;
        assert_eq!((status.as_u16(), body.get("total")), (401, None));
    }
}

#[tokio::test]
async fn limit_and_offset_cut_a_page_out_of_the_list() {
    let database = TestDatabase::new().await;
    let stories = (0..60).map(|number| story(&number.to_string(), day(number)));
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    for (query, limit, offset, first, length) in [
        ("", 10, 0, Some("59"), 10),
        ("?limit=1", 1, 0, Some("59"), 1),
        ("?limit=50", 50, 0, Some("59"), 50),
        ("?offset=5", 10, 5, Some("54"), 10),
        ("?limit=50&offset=20", 50, 20, Some("39"), 40),
        ("?offset=60", 10, 60, None, 0),
        ("?offset=10000", 10, 10_000, None, 0),
    ] {
        let (status, list) = site.content.get(&format!("/stories{query}")).await;
        assert_eq!(status, 200, "{query}");
        let slugs = each(&list, "slug");
        assert_eq!((slugs.first().copied(), slugs.len()), (first, length), "{query}");
        assert_eq!((&list["limit"], &list["offset"]), (&limit.into(), &offset.into()), "{query}");
        assert_eq!(list["total"], 60, "{query}");
        let is_last = offset + length as u64 >= 60;
        assert_eq!(list["next_cursor"].is_null(), is_last, "{query}");
    }
}

#[tokio::test]
async fn a_section_narrows_a_list() {
    let database = TestDatabase::new().await;
    let orphan = ObjectId::new().to_hex();
    database
        .insert(
            "stories",
            [
                story("blog", day(1)),
                with(story("orphan", day(2)), doc! { "section_id": &orphan }),
                with(story("none", day(3)), doc! { "section_id": null }),
            ],
        )
        .await;
    let site = Site::start(&database).await;
    let blog = section_id(&database, "blog").await;
    for (query, expected) in [
        (String::new(), vec!["none", "orphan", "blog"]),
        ("?section=blog".to_owned(), vec!["blog"]),
        (format!("?section_id={blog}"), vec!["blog"]),
        (format!("?section_id={}", blog.to_uppercase()), vec!["blog"]),
        (format!("?section_id={orphan}"), vec!["orphan"]),
        ("?section=about".to_owned(), vec![]),
        ("?section_id=ffffffffffffffffffffffff".to_owned(), vec![]),
    ] {
        let (status, list) = site.content.get(&format!("/stories{query}")).await;
        assert_eq!((status.as_u16(), each(&list, "slug")), (200, expected.clone()), "{query}");
        assert_eq!(list["total"], expected.len(), "{query}");
    }
    let (status, body) = site.content.get("/stories?section=nope").await;
    assert_eq!((status.as_u16(), body["detail"].as_str()), (404, Some("Section not found")));
}

#[tokio::test]
async fn a_section_that_is_not_public_is_not_found_by_its_slug() {
    let database = TestDatabase::new().await;
    database.insert("stories", [story("blog", day(1))]).await;
    let site = Site::start(&database).await;
    assert_eq!(site.content.get("/stories?section=blog").await.1["total"], 1);
    let hide = doc! { "$set": { "is_published": false } };
    database.collection("sections").update_one(doc! { "slug": "blog" }, hide).await.unwrap();
    test_support::eventually("the section is gone", async || {
        site.content.get("/stories?section=blog").await.0 == 404
    })
    .await;
}

/// A right total is answered to every request that is sent a second after the write.
async fn assert_total_within_a_second(service: &Service, query: &str, expected: u64) {
    let written = Instant::now();
    loop {
        let sent = written.elapsed();
        let (_, list) = service.get(&format!("/stories{query}")).await;
        if list["total"] == expected {
            return;
        }
        let total = &list["total"];
        assert!(sent < Duration::from_secs(1), "{query}: {total} after {sent:?}, not {expected}");
    }
}

#[tokio::test]
async fn a_total_is_right_within_a_second_after_a_write_to_the_database() {
    let database = TestDatabase::new().await;
    let stories = (0..100).map(|number| story(&number.to_string(), day(number)));
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    let stories = database.collection("stories");
    let blog = section_id(&database, "blog").await;
    for query in ["", "?section=blog"] {
        assert_total_within_a_second(&site.content, query, 100).await;
        stories.insert_one(with(story("new", day(1)), doc! { "section_id": &blog })).await.unwrap();
        assert_total_within_a_second(&site.content, query, 101).await;
        for (is_published, total) in [(false, 100), (true, 101)] {
            let publish = doc! { "$set": { "is_published": is_published } };
            stories.update_one(doc! { "slug": "new" }, publish).await.unwrap();
            assert_total_within_a_second(&site.content, query, total).await;
        }
        stories.delete_one(doc! { "slug": "new" }).await.unwrap();
        assert_total_within_a_second(&site.content, query, 100).await;
        let trash = doc! { "$set": { "deleted": true } };
        stories.update_many(doc! { "slug": { "$in": ["1", "2", "3"] } }, trash).await.unwrap();
        assert_total_within_a_second(&site.content, query, 97).await;
        let restore = doc! { "$set": { "deleted": false } };
        stories.update_many(doc! { "deleted": true }, restore).await.unwrap();
        assert_total_within_a_second(&site.content, query, 100).await;
    }
}

#[tokio::test]
async fn no_text_in_a_query_or_a_path_breaks_the_service() {
    let database = TestDatabase::new().await;
    database.insert("stories", [story("s", day(1))]).await;
    let site = Site::start(&database).await;
    let odd = [
        "%00",
        "a%00b",
        "%01%1f%7f",
        "%ff%fe",
        "%7B%22%24gt%22%3A%22%22%7D",
        "%24where",
        "a%2fb",
        "%2e%2e%2f%2e%2e",
        "a%5cb",
        "%0d%0a",
        "%20",
        "+",
        "%F0%9F%A6%80",
        "%25",
        "%3F",
        "%23",
        "null",
        "undefined",
        "-1",
        "[object%20Object]",
    ];
    let long = "x".repeat(3_000);
    for text in odd.into_iter().chain([long.as_str()]) {
        for path in ["/stories/slug/", "/projects/slug/", "/pages/type/"] {
            let path = format!("{path}{text}");
            let (status, body) = site.content.get(&path).await;
            assert!([400, 404].contains(&status.as_u16()), "{path}: {status} {body}");
            assert!(body["detail"].is_string(), "{path}: {body}");
        }
        let (status, body) = site.content.get_as_editor(&format!("/stories/{text}")).await;
        assert!([400, 404].contains(&status.as_u16()), "{text}: {status} {body}");
        assert!(body["detail"].is_string(), "{text}: {body}");
    }
    // What a client would fold in a path is as good as any other text in a query.
    for text in odd.into_iter().chain([long.as_str(), "", ".", "..", "%2e%2e", "../.."]) {
        for (query, expected) in [
            (format!("section={text}"), 404),
            (format!("section[$gt]={text}"), 422),
            (format!("section_id={text}"), 422),
            (format!("cursor={text}"), 422),
        ] {
            let (status, body) = site.content.get(&format!("/stories?{query}")).await;
            assert_eq!(status, expected, "{query}: {body}");
            assert!(body["detail"].is_string(), "{query}: {body}");
        }
    }
}

#[tokio::test]
async fn a_forged_cursor_is_refused_or_finds_nothing_that_is_not_public() {
    let database = TestDatabase::new().await;
    let draft = with(story("draft", day(1)), doc! { "is_published": false });
    database.insert("stories", [story("public", day(2)), draft]).await;
    let site = Site::start(&database).await;
    let values = [
        Bson::Null,
        Bson::Undefined,
        Bson::MinKey,
        Bson::MaxKey,
        "x".into(),
        "$_id".into(),
        "\0".into(),
        f64::NAN.into(),
        DateTime::MAX.into(),
        DateTime::MIN.into(),
        Bson::Array(vec![1.into()]),
        doc! { "$gt": "" }.into(),
        doc! {}.into(),
        Bson::Symbol("s".into()),
        Bson::JavaScriptCode("1".into()),
        Timestamp { time: 0, increment: 0 }.into(),
        Bson::RegularExpression(Regex {
            pattern: ".*".try_into().unwrap(),
            options: "".try_into().unwrap(),
        }),
    ];
    for date in &values {
        for id in &values {
            for is_text in [true, false] {
                let forged = doc! { "d": date.clone(), "t": is_text, "i": id.clone() };
                let bytes = bson::serialize_to_vec(&forged).unwrap();
                let path = format!("/stories?cursor={}", URL_SAFE_NO_PAD.encode(bytes));
                let (status, body) = site.content.get(&path).await;
                assert!(status == 200 || status == 422, "{forged}: {status} {body}");
                assert!(!body.to_string().contains("draft"), "{forged}: {body}");
            }
        }
    }
}

#[tokio::test]
async fn pages_and_totals_of_a_large_list_come_from_its_indexes() {
    let database = TestDatabase::new().await;
    let stories = (0..20_000).map(|number| {
        let fields = doc! { "is_published": number % 10 != 0, "slug": number.to_string() };
        with(story("s", DateTime::from_millis(number * 1_000)), fields)
    });
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    for texts in [0, 3] {
        for number in 0..texts {
            let date = format!("1970-01-01T0{number}:00:00Z");
            let blog = section_id(&database, "blog").await;
            let text = with(story("text", date), doc! { "section_id": blog });
            database.insert("stories", [text]).await;
        }
        let expected = 18_000 + texts;
        for path in ["/stories?limit=10", "/stories?limit=10&section=blog"] {
            test_support::eventually("the total is known", async || {
                site.content.get(path).await.1["total"] == expected
            })
            .await;
            let (_, first) = site.content.get(&format!("{path}&offset=2000")).await;
            let cursor = first["next_cursor"].as_str().unwrap();

            profile(&database, 2).await;
            let (_, page) = site.content.get(&format!("{path}&cursor={cursor}")).await;
            profile(&database, 0).await;
            assert_eq!(each(&page, "slug").len(), 10);
            let finds = profiled(&database, doc! { "command.find": "stories" }).await;
            assert!(!finds.is_empty());
            for find in finds {
                let examined = |field| find.get_i32(field).unwrap();
                assert!(examined("docsExamined") <= 40, "{find:#?}");
                assert!(examined("keysExamined") <= 60, "{find:#?}");
                assert!(!find.get_bool("hasSortStage").unwrap_or_default(), "{find:#?}");
            }
            database.collection("system.profile").drop().await.unwrap();

            // Another date makes the list be surveyed anew, which is seen here.
            profile(&database, 2).await;
            let touch = doc! { "$set": { "createdDate": DateTime::now() } };
            database.collection("stories").update_one(doc! { "slug": "1" }, touch).await.unwrap();
            test_support::eventually("it was counted", async || {
                site.content.get(path).await;
                let counts =
                    doc! { "command.aggregate": "stories", "command.hint": { "$exists": true } };
                !profiled(&database, counts).await.is_empty()
            })
            .await;
            profile(&database, 0).await;
            let count = profiled(&database, doc! { "command.aggregate": "stories" }).await;
            let count = count
                .iter()
                .find(|count| count.get_document("command").unwrap().contains_key("hint"))
                .unwrap();
            assert_eq!(count.get_i32("docsExamined").unwrap(), 0, "{count:#?}");
            database.collection("system.profile").drop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn only_what_a_list_goes_by_makes_it_be_counted_anew() {
    let database = TestDatabase::new().await;
    let stories = (0..10).map(|number| story(&number.to_string(), day(number)));
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    let stories = database.collection("stories");
    let of_section = format!("/stories?section_id={}", section_id(&database, "blog").await);
    let counts = async || {
        profiled(
            &database,
            doc! { "command.aggregate": "stories", "command.hint": { "$exists": true } },
        )
        .await
        .len()
    };
    for path in ["/stories", "/stories?include_drafts=true", &of_section] {
        let get = async || {
            let list = site.content.get_as_editor(path).await.1;
            (list["total"].clone(), list["items"][0]["title"].clone())
        };
        assert_eq!(get().await.0, 10);
        profile(&database, 2).await;
        let edit = doc! { "$set": { "title": path, "content": path } };
        stories.update_many(doc! {}, edit).await.unwrap();
        heard(&database, &site.content).await;
        // A machine that is too busy to hear of changes for a moment counts.
        test_support::eventually("it is not counted", async || {
            let before = counts().await;
            assert_eq!(get().await, (10.into(), path.into()));
            counts().await == before
        })
        .await;
        let before = counts().await;
        let one = doc! { "slug": "3" };
        stories.update_one(one.clone(), doc! { "$set": { "deleted": true } }).await.unwrap();
        test_support::eventually("it was counted", async || get().await.0 == 9).await;
        assert!(counts().await > before, "{path}");
        profile(&database, 0).await;
        database.collection("system.profile").drop().await.unwrap();
        stories.update_one(one.clone(), doc! { "$unset": { "deleted": "" } }).await.unwrap();
        test_support::eventually("it is back", async || get().await.0 == 10).await;
        // It is in another section for a moment.
        let section = database.one("stories", one.clone()).await.get("section_id").cloned();
        let left = if path == of_section { 9 } else { 10 };
        for (section_id, total) in [(Some(ObjectId::new().to_hex().into()), left), (section, 10)] {
            let update = doc! { "$set": { "section_id": section_id } };
            stories.update_one(one.clone(), update).await.unwrap();
            test_support::eventually("it has moved", async || get().await.0 == total).await;
        }
    }
}

#[tokio::test]
async fn a_small_section_among_much_content_is_found_without_reading_the_rest() {
    let database = TestDatabase::new().await;
    let small = ObjectId::new().to_hex();
    let stories = (0..20_000).map(|number: i64| {
        let mut story = story(&number.to_string(), DateTime::from_millis(number * 1_000));
        if number % 1_000 == 0 {
            story.insert("section_id", &small);
        }
        story
    });
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    // The server remembers its plan for the large section, which has the same shape.
    for _ in 0..5 {
        assert_eq!(walk_pages(&site.content, "/stories?section=blog&limit=5", 5).await, 25);
    }
    profile(&database, 2).await;
    let path = format!("/stories?section_id={small}&limit=5");
    assert_eq!(walk_pages(&site.content, &path, 10).await, 20);
    profile(&database, 0).await;
    for find in profiled(&database, doc! { "command.find": "stories" }).await {
        let examined =
            find.get_i32("docsExamined").unwrap() + find.get_i32("keysExamined").unwrap();
        assert!(examined < 1_000, "{find:#?}");
    }
}

#[tokio::test]
async fn the_unusual_shapes_of_a_collection_are_read_once_for_all_lists_and_again_after_a_change() {
    let database = TestDatabase::new().await;
    database.insert("stories", [0, 1, 2].map(|number| story("s", day(number)))).await;
    let site = Site::start(&database).await;
    let reads = async || {
        let of_odd_ids = doc! { "command.find": "stories", "command.hint._id": 1 };
        profiled(&database, of_odd_ids).await.len()
    };
    let list = async || {
        let path = format!("/stories?section_id={}", ObjectId::new().to_hex());
        assert_eq!(site.content.get(&path).await.1["total"], 0);
    };
    profile(&database, 2).await;
    for _ in 0..4 {
        list().await;
    }
    assert_eq!(reads().await, 1);
    database.insert("stories", [with(story("odd", day(3)), doc! { "_id": true })]).await;
    test_support::eventually("the shapes are read again", async || {
        list().await;
        reads().await == 2
    })
    .await;
    list().await;
    assert_eq!(reads().await, 2);
    profile(&database, 0).await;
}

#[tokio::test]
async fn cursors_lead_through_a_list_whose_index_is_missing() {
    let database = TestDatabase::new().await;
    database.insert("stories", [0, 1, 2, 3, 4].map(|number| story("s", day(number)))).await;
    let site = Site::start(&database).await;
    database.collection("stories").drop_indexes().await.unwrap();
    assert_eq!(walk_pages(&site.content, "/stories?limit=2", 3).await, 5);
}

#[tokio::test]
async fn the_list_of_a_section_comes_from_the_index_of_all_until_it_has_its_own() {
    let database = TestDatabase::new().await;
    let stories = (0..5_000).map(|number| {
        with(story("s", DateTime::from_millis(number * 1_000)), doc! { "slug": number.to_string() })
    });
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    // As it is before the last migration.
    let collection = database.collection("stories");
    for name in collection.list_index_names().await.unwrap() {
        if name.starts_with("section_id") {
            collection.drop_index(name).await.unwrap();
        }
    }
    let path = "/stories?limit=3&section=blog";
    let (_, first) = site.content.get(path).await;
    assert_eq!(first["total"], 5_000);
    profile(&database, 2).await;
    let (_, first) = site.content.get(path).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let (_, second) = site.content.get(&format!("{path}&cursor={cursor}")).await;
    profile(&database, 0).await;
    assert_eq!(each(&first, "slug"), ["4999", "4998", "4997"]);
    assert_eq!(each(&second, "slug"), ["4996", "4995", "4994"]);
    let finds = profiled(&database, doc! { "command.find": "stories" }).await;
    assert!(finds.len() >= 2, "{finds:#?}");
    for find in finds {
        let plan = find.get_str("planSummary").unwrap();
        assert!(plan.contains("createdDate: -1, _id: -1, is_published: 1"), "{find:#?}");
        assert!(find.get_i32("docsExamined").unwrap() <= 20, "{find:#?}");
    }
}

/// Returns the number of items of the first pages, following cursors.
async fn walk_pages(service: &Service, path: &str, pages: usize) -> usize {
    let mut count = 0;
    let mut page = path.to_owned();
    for _ in 0..pages {
        let (_, list) = service.get(&page).await;
        count += each(&list, "slug").len();
        let Some(cursor) = list["next_cursor"].as_str() else { break };
        page = format!("{path}&cursor={cursor}");
    }
    count
}
