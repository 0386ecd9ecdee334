//! Every kind of content through all that is done with content. The kinds come from their table, the
//! bodies and addresses from the description of the API: a new kind is tested without an edit here.

use models::{ContentType, DisplayType};
use mongodb::bson::{Bson, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Service, TestDatabase, eventually};

use crate::support::{Site, section, send};

/// A kind of content, as the description of the API presents it.
struct Kind {
    content_type: ContentType,
    collection: &'static str,
    /// The example of a new item.
    example: Value,
    /// The path of the public look-up without its parameter, and the parameter.
    look_up: (String, String),
}

impl Kind {
    fn new(content_type: ContentType) -> Self {
        let document = serde_json::to_value(content_service::openapi()).unwrap();
        let collection = content_type.collection();
        let create = &document["paths"][format!("/{collection}")]["post"]["requestBody"];
        let schema = create["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
        let schema = document.pointer(schema.strip_prefix('#').unwrap()).unwrap();
        let example = schema["examples"][0].clone();
        assert!(example.is_object(), "{collection}: the body of a new item has no example");
        let prefix = format!("/{collection}/");
        let paths = document["paths"].as_object().unwrap().keys();
        let look_ups = paths.filter(|path| path.starts_with(&prefix) && path.ends_with('}'));
        let look_up: Vec<_> = look_ups.filter(|path| !path.contains("/{id}")).collect();
        let [look_up] = look_up[..] else { panic!("{collection}: {look_up:?}") };
        let (path, parameter) = look_up.trim_end_matches('}').split_once('{').unwrap();
        let look_up = (path.to_owned(), parameter.to_owned());
        Self { content_type, collection, example, look_up }
    }

    fn has_slugs(&self) -> bool {
        self.look_up.1 == "slug"
    }

    /// Adds a section for the kind, and returns its id.
    async fn section(&self, database: &TestDatabase, slug: &str) -> String {
        let display = serde_json::to_value(self.content_type.usual_display()).unwrap();
        let fields = doc! {
            "content_type": self.content_type.as_str(), "display_type": display.as_str().unwrap(),
        };
        section(database, slug, fields).await
    }
}

struct Walk<'a> {
    kind: &'a Kind,
    site: &'a Site,
    database: &'a TestDatabase,
    /// The sections between which the item is moved: slug and id.
    from: (String, String),
    to: (String, String),
}

impl Walk<'_> {
    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.site.content.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.site.content.url);
        let (status, _, answer) = send(method, &url, &[], body).await;
        (status.as_u16(), answer)
    }

    /// Asserts which of the two sections has the item, in all places that tell.
    async fn is_in(&self, expected: [u64; 2]) {
        let collection = self.kind.collection;
        let ids = format!("{},{}", self.from.1, self.to.1);
        let counts = self.get(&format!("/internal/content/counts?section_ids={ids}")).await;
        for ((slug, id), count) in [&self.from, &self.to].into_iter().zip(expected) {
            assert_eq!(counts[id], count, "{collection} in {slug}: {counts}");
            let list = format!("/{collection}?section={slug}");
            let items = self.get(&list).await["items"].clone();
            assert_eq!(items.as_array().map(Vec::len), usize::try_from(count).ok(), "{items}");
            // A total may be a second old.
            eventually("the total is that of now", async || {
                self.get(&list).await["total"] == count
            })
            .await;
            let url = format!("{}/sections/{id}", self.site.sections.url);
            if count > 0 {
                let (status, _, answer) = send("DELETE", &url, &[], &Value::Null).await;
                assert_eq!((status.as_u16(), &answer["code"]), (409, &"has_content".into()));
            }
        }
        let sections = [&self.from, &self.to].map(|(_, id)| ObjectId::parse_str(id).unwrap());
        let sections = sections.map(Bson::from);
        let linked = content_service::count_linked(self.database.connection(), &sections).await;
        assert_eq!(linked.unwrap(), 1, "{collection}: items in the trash are linked too");
    }

    /// Asserts that the path of a section, or one below it, is that of the item.
    async fn resolves_to(&self, path: &str, item: &Value) {
        let resolved = self.get(&format!("/resolve?path={path}")).await;
        assert_eq!((&resolved["kind"], &resolved["content"]), (&"item".into(), item));
        assert_eq!(resolved["canonical_path"], path);
    }
}

#[tokio::test]
async fn every_kind_is_created_listed_counted_moved_resolved_deleted_restored_and_inspected() {
    let database = TestDatabase::new().await;
    let kinds = ContentType::ALL.map(Kind::new);
    let mut sections = Vec::new();
    for kind in &kinds {
        let slugs = ["from", "to"].map(|place| format!("{place}-{}", kind.collection));
        let [from, to] = slugs;
        let ids = (kind.section(&database, &from).await, kind.section(&database, &to).await);
        sections.push(((from, ids.0), (to, ids.1)));
    }
    let (of_sections, of_content) = Service::both(&database).await;
    let site = Site { sections: of_sections, content: of_content };
    for (kind, (from, to)) in kinds.iter().zip(sections) {
        walk(&Walk { kind, site: &site, database: &database, from, to }).await;
    }
    site.stop().await;
}

async fn walk(walk: &Walk<'_>) {
    let Walk { kind, database, from, to, .. } = walk;
    let collection = kind.collection;

    let mut body = kind.example.clone();
    body["section_id"] = from.1.as_str().into();
    let (status, created) = walk.send("POST", &format!("/{collection}"), &body).await;
    assert_eq!(status, 201, "{created}");
    let id = created["id"].as_str().unwrap();
    let path = format!("/{collection}/{id}");
    for (member, value) in kind.example.as_object().unwrap() {
        assert_eq!(&created[member], value, "{collection}");
    }
    let (look_up, parameter) = &kind.look_up;
    let address = created[parameter].as_str().unwrap();
    assert_eq!(walk.get(&format!("{look_up}{address}")).await, created);
    walk.is_in([1, 0]).await;
    let (status, unchanged) = walk.send("PUT", &path, &created).await;
    assert_eq!((status, &unchanged), (200, &created), "an item can be sent back as it is");

    let is_static_page = kind.content_type.usual_display() == DisplayType::StaticPage;
    let place = |slug: &str| {
        if kind.has_slugs() { format!("/{slug}/{address}") } else { format!("/{slug}") }
    };
    if kind.has_slugs() || is_static_page {
        walk.resolves_to(&place(&from.0), &created).await;
    }
    if !is_static_page {
        let section = walk.get(&format!("/resolve?path=/{}", from.0)).await;
        let list = walk.get(&format!("/{collection}?section={}", from.0)).await;
        assert_eq!((&section["kind"], &section["content"]), (&"section".into(), &list));
    }

    let word = kind.content_type.as_str();
    let moved = json!({ "content_type": word, "content": { "ids": [id] }, "section_id": to.1 });
    let moved = walk.send("POST", "/content/move", &moved).await;
    assert_eq!(moved, (200, json!({ "moved": 1 })), "{collection}");
    walk.is_in([0, 1]).await;
    let present = walk.site.content.get_as_editor(&path).await.1;
    if kind.has_slugs() {
        walk.resolves_to(&place(&to.0), &present).await;
        let old = walk.get(&format!("/resolve?path={}", place(&from.0))).await;
        assert_eq!(old, json!({ "kind": "moved", "moved_to": place(&to.0), "status": 301 }));
    }

    assert_eq!(walk.send("DELETE", &path, &Value::Null).await.0, 204);
    assert_eq!(walk.site.content.get_as_editor(&path).await.0, 404);
    walk.is_in([0, 0]).await;
    let (status, restored) = walk.send("POST", &format!("{path}/restore"), &Value::Null).await;
    assert_eq!((status, &restored["section_id"]), (200, &to.1.as_str().into()));
    walk.is_in([0, 1]).await;

    let filter = doc! { "_id": ObjectId::parse_str(id).unwrap() };
    let nowhere = doc! { "$set": { "section_id": ObjectId::new().to_hex() } };
    database.collection(collection).update_one(filter, nowhere).await.unwrap();
    let report = walk.site.content.get_as_editor("/internal/integrity").await.1;
    let findings = report["findings"].as_array().unwrap();
    let of_kind = |finding: &&Value| {
        finding["collection"] == collection && finding["kind"] == "missing_section"
    };
    let finding = findings.iter().find(of_kind);
    assert_eq!(finding.map(|finding| &finding["ids"]), Some(&json!([id])), "{report}");

    let mut indexes = database.collection(collection).list_index_names().await.unwrap();
    indexes.retain(|name| !name.starts_with("pending_"));
    indexes.sort_unstable();
    let mut expected = vec![
        "_id_".to_owned(),
        "createdDate_-1__id_-1_visibility".to_owned(),
        format!("look_up_{parameter}"),
        "look_up_slug".to_owned(),
        "section_id_1".to_owned(),
        "section_id_1_createdDate_-1__id_-1_visibility".to_owned(),
        "sort_date".to_owned(),
        "sort_title".to_owned(),
        "sort_updatedDate".to_owned(),
        "tags_1_createdDate_-1__id_-1_visibility".to_owned(),
        "trash".to_owned(),
    ];
    expected.dedup();
    assert_eq!(indexes, expected, "{collection}");
}
