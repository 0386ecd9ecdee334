//! Lists of a period, of what is featured, in the order of their section, and with authors.

use models::ContentType;
use mongodb::bson::{Bson, DateTime, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Service, TestDatabase, eventually};

use crate::support::{
    Site, created, day, each, page, project, section, send, story, user, walk, with, without,
};

/// The slugs of a list, by every way through it, which its total agrees with.
async fn slugs(service: &Service, path: &str) -> Vec<String> {
    let (status, list) = service.get(&format!("{path}&limit=50")).await;
    assert_eq!(status, 200, "{path}: {list}");
    let slugs: Vec<_> = each(&list, "slug").into_iter().map(str::to_owned).collect();
    assert_eq!(list["total"], slugs.len(), "{path}");
    assert_eq!(walk(service, &format!("{path}&limit=2")).await, slugs, "{path}");
    slugs
}

async fn refused(service: &Service, path: &str) -> (String, String) {
    let (status, body) = service.get(path).await;
    assert_eq!(status, 422, "{path}: {body}");
    let error = &body["errors"][0];
    (error["field"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_period_has_what_was_created_from_its_first_moment_to_before_its_last() {
    let database = TestDatabase::new().await;
    let own = section(&database, "own", doc! {}).await;
    let noon = DateTime::from_millis(day(2).timestamp_millis() + 43_200_000);
    database
        .insert(
            "stories",
            [
                story("0", day(0)),
                with(story("1", day(1)), doc! { "section_id": &own }),
                with(story("2", day(2)), doc! { "section_id": &own }),
                story("2-noon", noon),
                story("3-text", "2024-01-04T00:00:00Z"),
                story("4", day(4)),
                with(story("2-draft", day(2)), doc! { "is_published": false }),
                without(story("undated", day(2)), "createdDate"),
                story("never", "at dawn"),
            ],
        )
        .await;
    let hidden = section(&database, "hidden", doc! { "is_published": false }).await;
    let in_hidden = with(story("2-hidden", day(2)), doc! { "section_id": hidden });
    database.insert("stories", [in_hidden]).await;
    let site = Site::start(&database).await;
    for (query, expected) in [
        ("created_after=2024-01-03", vec!["4", "3-text", "2-noon", "2"]),
        ("created_after=2024-01-03T00:00:00.001Z", vec!["4", "3-text", "2-noon"]),
        ("created_before=2024-01-03", vec!["1", "0"]),
        ("created_before=2024-01-03T00:00:00.001Z", vec!["2", "1", "0"]),
        ("created_after=2024-01-03&created_before=2024-01-05", vec!["3-text", "2-noon", "2"]),
        // The same moment in another zone.
        ("created_after=2024-01-03T14:00:00%2B02:00", vec!["4", "3-text", "2-noon"]),
        ("created_after=2024-01-02&created_before=2024-01-03&section=own", vec!["1"]),
        ("created_after=2025-01-01", vec![]),
        ("created_after=2024-01-05&created_before=2024-01-01", vec![]),
    ] {
        assert_eq!(slugs(&site.content, &format!("/stories?{query}")).await, expected, "{query}");
        let mut reversed =
            slugs(&site.content, &format!("/stories?{query}&sort=createdDate")).await;
        reversed.reverse();
        assert_eq!(reversed, expected, "{query}");
    }
    // By another field, dates of another type are in no period; the total agrees.
    let path = "/stories?created_after=2024-01-03&sort=title";
    assert_eq!(slugs(&site.content, path).await, ["2", "2-noon", "4"]);
    for wrong in ["yesterday", "", "2024-13-01", "01/02/2024", "$gt"] {
        for field in ["created_after", "created_before"] {
            let (named, message) =
                refused(&site.content, &format!("/stories?{field}={wrong}")).await;
            assert_eq!(named, field);
            assert!(message.contains("RFC 3339"), "{message}");
        }
    }
}

#[tokio::test]
async fn what_is_featured_is_listed_by_itself() {
    let database = TestDatabase::new().await;
    for (number, featured) in (0..).zip([
        Bson::from(true),
        "true".into(),
        1.into(),
        false.into(),
        Bson::Null,
        "perhaps".into(),
        vec![Bson::from(true)].into(),
    ]) {
        let slug = number.to_string();
        let fields = doc! { "is_featured": featured, "createdDate": day(number) };
        database.insert("projects", [with(project(&slug), fields)]).await;
    }
    database.insert("projects", [with(project("absent"), doc! { "createdDate": day(9) })]).await;
    let site = Site::start(&database).await;
    assert_eq!(slugs(&site.content, "/projects?is_featured=true").await, ["2", "1", "0"]);
    let others = slugs(&site.content, "/projects?is_featured=false").await;
    assert_eq!(others, ["absent", "6", "5", "4", "3"]);
    let (field, _) = refused(&site.content, "/projects?is_featured=yes").await;
    assert_eq!(field, "is_featured");
    let (field, message) = refused(&site.content, "/stories?is_featured=true").await;
    assert_eq!((field.as_str(), message.as_str()), ("is_featured", "stories are not featured"));
    // At once after a change.
    let absent = database.one("projects", doc! { "slug": "absent" }).await;
    let id = absent.get_object_id("_id").unwrap().to_hex();
    let url = format!("{}/projects/{id}", site.content.url);
    assert_eq!(send("PATCH", &url, &[], &json!({ "is_featured": true })).await.0, 200);
    assert_eq!(slugs(&site.content, "/projects?is_featured=true").await, ["absent", "2", "1", "0"]);
}

#[tokio::test]
async fn a_section_says_what_its_list_is_ordered_by() {
    let database = TestDatabase::new().await;
    let glossary = section(&database, "glossary", doc! { "sort_by": "title" }).await;
    let odd = section(&database, "odd", doc! { "sort_by": 7 }).await;
    for (slug, date, title) in [("b", 1, "B"), ("c", 3, "C"), ("a", 2, "A")] {
        for section in [&glossary, &odd] {
            let fields = doc! { "title": title, "section_id": section, "_id": ObjectId::new() };
            database.insert("stories", [with(story(slug, day(date)), fields)]).await;
        }
    }
    let site = Site::start(&database).await;
    for path in ["/stories?section=glossary".to_owned(), format!("/stories?section_id={glossary}")]
    {
        assert_eq!(slugs(&site.content, &path).await.concat(), "abc");
        assert_eq!(
            slugs(&site.content, &format!("{path}&sort=-createdDate")).await.concat(),
            "cab"
        );
    }
    assert_eq!(slugs(&site.content, "/stories?section=odd").await.concat(), "cab");
    let resolved = async || {
        let (_, answer) = site.content.get("/resolve?path=/glossary&limit=2").await;
        let slugs = each(&answer["content"], "slug").concat();
        (slugs, answer["section"]["sort_by"].clone(), answer["content"]["next_cursor"].clone())
    };
    let (first, sort_by, cursor) = resolved().await;
    assert_eq!((first.as_str(), &sort_by), ("ab", &"title".into()));
    let path = format!("/stories?section=glossary&cursor={}", cursor.as_str().unwrap());
    assert_eq!(each(&site.content.get(&path).await.1, "slug"), ["c"]);
    // The section is changed: the lists follow, and a cursor of the former order is refused.
    let url = format!("{}/sections/{glossary}", site.sections.url);
    let (status, _, answer) = send("PATCH", &url, &[], &json!({ "sort_by": "-title" })).await;
    assert_eq!((status.as_u16(), &answer["sort_by"]), (200, &"-title".into()));
    eventually("the lists are in the new order", async || resolved().await.0 == "cb").await;
    assert_eq!(slugs(&site.content, "/stories?section=glossary").await.concat(), "cba");
    assert_eq!(refused(&site.content, &path).await.0, "cursor");
}

#[tokio::test]
async fn an_item_of_any_kind_has_the_name_of_its_author_and_nothing_else_of_the_user() {
    let database = TestDatabase::new().await;
    let ada = user(&database, "Ada", "author").await;
    let authors = [
        Bson::from(ada.as_str()),
        ada.to_uppercase().into(),
        ObjectId::parse_str(&ada).unwrap().into(),
        ObjectId::new().to_hex().into(),
        "nobody".into(),
        Bson::Null,
        // The first admin has the address in place of a name.
        user(&database, "me@site.example", "admin").await.into(),
    ];
    for kind in ContentType::ALL {
        for (number, user_id) in (0_i64..).zip(&authors) {
            let fields = doc! {
                "slug": number.to_string(), "page_type": number.to_string(), "user_id": user_id,
                "createdDate": day(number),
            };
            database.insert(kind.collection(), [with(page("about"), fields)]).await;
        }
    }
    let site = Site::start(&database).await;
    let by_ada = json!({ "name": "Ada" });
    for kind in ContentType::ALL {
        let collection = kind.collection();
        for query in ["", "&view=card", "&fields=author"] {
            let list = format!("/{collection}?sort=createdDate{query}");
            let (_, list) = site.content.get(&list).await;
            let found: Vec<_> = list["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["author"].clone())
                .collect();
            let null = Value::Null;
            let expected = [&by_ada, &by_ada, &by_ada, &null, &null, &null, &null];
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{collection}{query}");
            assert!(!list.to_string().to_lowercase().contains("example.org"), "{list}");
            assert!(!list.to_string().contains("me@site"), "{list}");
        }
        let look_up = if collection == "pages" { "type" } else { "slug" };
        let (_, item) = site.content.get(&format!("/{collection}/{look_up}/0")).await;
        assert_eq!(item["author"], by_ada, "{collection}");
        let path = format!("/{collection}/{}", item["id"].as_str().unwrap());
        assert_eq!(site.content.get_as_editor(&path).await.1, item);
        // It can be sent back, also when the user has another name by then.
        let mut body = item.clone();
        body["author"] = json!({ "name": "Ada Byron" });
        body["title"] = "Changed".into();
        let url = format!("{}{path}", site.content.url);
        let (status, _, changed) = send("PUT", &url, &[], &body).await;
        assert_eq!((status.as_u16(), &changed["author"]), (200, &by_ada), "{changed}");
        let stored = database.one(collection, doc! { "title": "Changed" }).await;
        assert!(!stored.contains_key("author"));
    }
    let (_, resolved) = site.content.get("/resolve?path=/blog/0").await;
    assert_eq!((&resolved["kind"], &resolved["content"]["author"]), (&"item".into(), &by_ada));
    // Another name is answered with its own tag, whoever writes it.
    let renamed = doc! { "$set": { "name": "Grace" } };
    database.collection("users").update_one(doc! { "name": "Ada" }, renamed).await.unwrap();
    for path in ["/stories/slug/0", "/stories?sort=createdDate", "/resolve?path=/blog/0"] {
        eventually("the new name is answered", async || {
            site.content.get(path).await.1.to_string().contains(r#""author":{"name":"Grace"}"#)
        })
        .await;
    }
}

#[tokio::test]
async fn items_of_any_kind_have_a_date_that_can_be_changed() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let body = json!({ "title": "A", "content": "<p>x</p>" });
        let mut with_date = body.clone();
        with_date["date"] = "2020-02-03".into();
        let item = created(&site, collection, with_date).await;
        assert_eq!(item["date"], "2020-02-03T00:00:00.000Z", "{collection}");
        let other = created(&site, collection, body.clone()).await;
        assert_eq!(other["date"], Value::Null, "{collection}");
        let url = format!("{}/{collection}/{}", site.content.url, other["id"].as_str().unwrap());
        let mut replaced = body.clone();
        for (method, value, expected) in [
            ("PUT", json!("2021-01-01T00:00:00+01:00"), json!("2020-12-31T23:00:00.000Z")),
            ("PATCH", json!("2019-01-01"), json!("2019-01-01T00:00:00.000Z")),
            ("PATCH", json!(null), json!(null)),
            ("PATCH", json!("2022-01-01"), json!("2022-01-01T00:00:00.000Z")),
        ] {
            replaced["date"] = value;
            let (status, _, changed) = send(method, &url, &[], &replaced).await;
            assert_eq!((status.as_u16(), &changed["date"]), (200, &expected), "{changed}");
        }
        let (status, _, answer) = send("PATCH", &url, &[], &json!({ "date": "soon" })).await;
        assert_eq!((status.as_u16(), &answer["errors"][0]["field"]), (422, &"date".into()));
        let (_, list) = site.content.get(&format!("/{collection}?sort=-date&fields=date")).await;
        assert_eq!(each(&list, "date"), ["2022-01-01T00:00:00.000Z", "2020-02-03T00:00:00.000Z"]);
    }
}
