//! Paging through the content of a path, and what is before and after an item.

use models::{ContentType, Sort};
use mongodb::bson::{Bson, DateTime, doc, oid::ObjectId};
use serde_json::{Value, json};
use service_kit::web::changes::SURROGATE_KEY;
use test_support::{Api, Random, Service, TestDatabase, eventually};

use crate::support::{
    Site, created, day, heard, page, profile, profiled, project, section, section_id, send, story,
    with,
};

async fn get(service: &Service, path: &str) -> Value {
    let (status, body) = service.get(path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

async fn get_as_editor(service: &Service, path: &str) -> Value {
    let (status, body) = service.get_as_editor(path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// Returns the paths of `previous` and `next` of an answer.
fn beside(answer: &Value) -> [Option<&str>; 2] {
    ["previous", "next"].map(|member| {
        assert!(answer.as_object().unwrap().contains_key(member), "{answer}");
        answer[member]["path"].as_str()
    })
}

#[tokio::test]
async fn an_item_names_those_beside_it_in_the_order_of_its_section() {
    let database = TestDatabase::new().await;
    let mut random = Random(7);
    let mut sections = Vec::new();
    for kind in ContentType::ALL {
        let fields = doc! { "content_type": kind.as_str(), "display_type": "feed" };
        let id = section(&database, &format!("of-{}", kind.collection()), fields).await;
        let draft = doc! { "is_published": false };
        for number in 0..12 {
            let slug = format!("s-{number}");
            let item = match kind {
                ContentType::Project => project(&slug),
                ContentType::Page => with(page("x"), doc! { "slug": &slug }),
                _ => story(&slug, day(1)),
            };
            // Few different values; some are missing or of another type.
            let date = |random: &mut Random| -> Bson {
                let date = day(random.below(4) as i64);
                match random.below(8) {
                    0 => date.try_to_rfc3339_string().unwrap().into(),
                    1 => Bson::Null,
                    _ => date.into(),
                }
            };
            let fields = doc! {
                "section_id": &id, "title": format!("T{}", random.below(4)),
                "createdDate": date(&mut random), "updatedDate": date(&mut random),
                "date": date(&mut random), "is_published": true,
            };
            let mut item = with(item, fields);
            match number {
                3 | 7 => item.extend(draft.clone()),
                5 => drop(item.insert("deleted", true)),
                // It has no path.
                9 => drop(item.remove("slug")),
                10 => drop(item.insert("section_id", ObjectId::new().to_hex())),
                _ => {}
            }
            database.insert(kind.collection(), [item]).await;
        }
        sections.push((kind, id));
    }
    let site = Site::start(&database).await;
    for (kind, id) in sections {
        for sort in Sort::ALL {
            let url = format!("{}/sections/{id}", site.sections.url);
            let body = json!({ "sort_by": sort.as_str() });
            assert_eq!(send("PATCH", &url, &[], &body).await.0, 200);
            let place = format!("/resolve?path=/of-{}", kind.collection());
            let sort_by =
                || async { get(&site.content, &place).await["section"]["sort_by"].clone() };
            eventually("the order is known", async || sort_by().await == sort.as_str()).await;
            for editor in [false, true] {
                let (more, items) = match editor {
                    true => ("&include_drafts=true", 10),
                    false => ("", 8),
                };
                let at = async |path: &str| {
                    let path = format!("/resolve?path={path}&limit=50{more}");
                    match editor {
                        true => get_as_editor(&site.content, &path).await,
                        false => get(&site.content, &path).await,
                    }
                };
                let list = at(&format!("/of-{}", kind.collection())).await;
                assert!(list.get("previous").is_none() && list.get("next").is_none(), "{list}");
                let listed = list["content"]["items"].as_array().unwrap().iter();
                let paths: Vec<_> =
                    listed.filter_map(|item| item["path"].as_str().map(str::to_owned)).collect();
                // A migration gives stories their slug.
                let without_path = usize::from(kind != ContentType::Story);
                assert_eq!(paths.len(), items - without_path, "{kind:?} {sort:?} {list}");
                for (number, path) in paths.iter().enumerate() {
                    let answer = at(path).await;
                    let expected = [number.checked_sub(1), Some(number + 1)]
                        .map(|place| paths.get(place?).map(String::as_str));
                    assert_eq!(beside(&answer), expected, "{kind:?} {sort:?} {path}");
                }
            }
        }
    }
    // A page that a section shows alone has none.
    let fields = doc! { "content_type": "page", "display_type": "static-page" };
    let about = section(&database, "about", fields).await;
    database.insert("pages", [with(page("about"), doc! { "section_id": about })]).await;
    let about = async || site.content.get("/resolve?path=/about").await.1;
    eventually("the page is shown", async || about().await["kind"] == "item").await;
    assert_eq!(beside(&about().await), [None, None]);
}

#[tokio::test]
async fn a_change_of_a_neighbour_concerns_the_answer() {
    let database = TestDatabase::new().await;
    let stories = [0, 1, 2, 3, 4].map(|number: i64| story(&number.to_string(), day(number)));
    database.insert("stories", stories).await;
    let site = Site::start(&database).await;
    let id = async |slug: &str| {
        let story = database.one("stories", doc! { "slug": slug }).await;
        story.get_object_id("_id").unwrap().to_hex()
    };
    let api = Api::new(site.content.url.clone()).sent_by(None);
    let mut answer = api.get("/resolve?path=/blog/2").await;
    // An answer has its keys while changes are heard.
    while answer.header(SURROGATE_KEY).is_empty() {
        heard(&database, &site.content).await;
        answer = api.get("/resolve?path=/blog/2").await;
    }
    let keys: Vec<_> = answer.header(SURROGATE_KEY).split(' ').collect();
    for key in ["stories/listed/section", &format!("stories/{}", id("1").await)] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
    // A text that is changed elsewhere does not concern it.
    assert!(!keys.contains(&"stories") && !keys.contains(&&*format!("stories/{}", id("0").await)));
    assert_eq!(answer.body["next"], json!({ "title": "Story 1", "path": "/blog/1" }));
    let titled = json!({ "title": "Another", "slug": "other" });
    let url = format!("{}/stories/{}", site.content.url, id("1").await);
    assert_eq!(send("PATCH", &url, &[], &titled).await.0, 200);
    let tag = answer.header("etag").to_owned();
    let answer = api.send("GET", "/resolve?path=/blog/2", &[("if-none-match", &tag)], None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["next"], json!({ "title": "Another", "path": "/blog/other" }));
    let hidden = json!({ "is_published": false });
    assert_eq!(send("PATCH", &url, &[], &hidden).await.0, 200);
    let next = async || get(&site.content, "/resolve?path=/blog/2").await["next"].take();
    assert_eq!(next().await["path"], "/blog/0");
    let body = json!({
        "title": "Between", "slug": "between", "content": "", "is_published": true,
        "createdDate": "2024-01-02T12:00:00Z",
    });
    created(&site, "stories", body).await;
    assert_eq!(next().await["path"], "/blog/between");
}

#[tokio::test]
async fn the_content_of_a_path_is_paged_through_as_the_list_is() {
    let database = TestDatabase::new().await;
    let stories = std::array::from_fn::<_, 23, _>(|number| {
        story(&number.to_string(), day(i64::try_from(number / 4).unwrap()))
    });
    database.insert("stories", stories).await;
    let site = Site::start(&database).await;
    let mut cursor = None::<String>;
    let mut pages = Vec::new();
    loop {
        let more = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = get(&site.content, &format!("/resolve?path=/blog&limit=5{more}")).await;
        let listed = get(&site.content, &format!("/stories?section=blog&limit=5{more}")).await;
        assert_eq!(page["content"], listed);
        assert_eq!(page["canonical_path"], "/blog");
        pages.push(page["content"].clone());
        let Some(next) = page["content"]["next_cursor"].as_str() else { break };
        assert!(pages.len() < 10);
        cursor = Some(next.to_owned());
    }
    assert_eq!(pages.len(), 5);
    let back = pages[2]["previous_cursor"].as_str().unwrap();
    let before = get(&site.content, &format!("/resolve?path=/blog&limit=5&cursor={back}")).await;
    assert_eq!(before["content"]["items"], pages[1]["items"]);
    // The cursors have tags of their own.
    let url = format!("{}/resolve?path=/blog&limit=5", site.content.url);
    let (_, first, _) = crate::support::ask(&url, &[]).await;
    let tag = first["etag"].to_str().unwrap();
    let url = format!("{url}&cursor={back}");
    assert_eq!(crate::support::ask(&url, &[("if-none-match", tag)]).await.0, 200);

    let titles = get(&site.content, "/stories?sort=title&limit=1").await;
    let of_titles = titles["next_cursor"].as_str().unwrap();
    for (path, cursor) in
        [("/blog", "x"), ("/blog", ""), ("/blog", of_titles), ("/blog/1", back), ("/blog", "e30")]
    {
        let path = format!("/resolve?path={path}&cursor={cursor}");
        let (status, answer) = site.content.get(&path).await;
        assert_eq!(
            (status.as_u16(), &answer["errors"][0]["field"]),
            (422, &"cursor".into()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn neighbours_cost_the_same_however_deep_the_item_is() {
    let database = TestDatabase::new().await;
    let stories = (0..2_000_i64).map(|number| {
        let date: DateTime = day(number / 700);
        let fields = doc! {
            "title": format!("Title {}", number % 5), "date": date, "updatedDate": date,
        };
        with(story(&number.to_string(), date), fields)
    });
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    let blog = section_id(&database, "blog").await;
    for sort in Sort::ALL {
        let url = format!("{}/sections/{blog}", site.sections.url);
        assert_eq!(send("PATCH", &url, &[], &json!({ "sort_by": sort.as_str() })).await.0, 200);
        let at = async |path: &str| get(&site.content, &format!("/resolve?path={path}")).await;
        let is_known = async || at("/blog").await["section"]["sort_by"] == sort.as_str();
        eventually("the order is known", is_known).await;
        at("/blog/1").await;
        profile(&database, 2).await;
        let answer = at("/blog/1000").await;
        assert!(beside(&answer).iter().all(Option::is_some), "{answer}");
        profile(&database, 0).await;
        let finds = doc! { "command.find": "stories", "command.limit": 4 };
        let finds = profiled(&database, finds).await;
        assert_eq!(finds.len(), 2, "{finds:#?}");
        for find in finds {
            let examined = |field| find.get_i32(field).unwrap();
            assert!(examined("docsExamined") <= 12, "{sort:?}: {find:#?}");
            assert!(examined("keysExamined") <= 30, "{sort:?}: {find:#?}");
            assert!(!find.get_bool("hasSortStage").unwrap_or_default(), "{sort:?}: {find:#?}");
        }
        database.collection("system.profile").drop().await.unwrap();
    }
}
