//! Hidden content, which no described route shows to the public.
//!
//! A new route is tested automatically. A parameter without values fails the test: give it values in
//! [`Values::of`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use models::Sort;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc, oid::ObjectId, spec::BinarySubtype};
use serde_json::{Value, json};
use test_support::{Answer, Api, TestDatabase, eventually};

use crate::front::{Front, Parameter, Route, encoded};

/// Everything that is hidden has this in its title and its text.
const SECRET: &str = "SECRET";

/// Kinds of content: type, collection.
const KINDS: [(&str, &str); 3] = [("story", "stories"), ("project", "projects"), ("page", "pages")];

/// Number of items of each kind that the public sees.
const OPEN: u64 = 3;

/// Time until the content of a hidden section is hidden: one second (docs/reference/api.md), and more on
/// a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// The settings without which some routes answer nothing.
const SETTINGS: [(&str, &str); 1] = [("site.url", "https://example.com")];

/// The id of a webhook, and of its delivery.
const WEBHOOK: &str = "626e3e0035b0bc65bb5e1545";

/// A site on which most things are hidden, in every way in which they can be.
struct Hidden {
    database: TestDatabase,
    /// Ids, slugs and page types of all sections and all content, hidden or not.
    section_ids: Vec<String>,
    section_slugs: Vec<String>,
    item_ids: Vec<String>,
    item_slugs: Vec<String>,
    /// Slugs that the items had.
    former_slugs: Vec<String>,
    /// The addresses of the items, hidden or not.
    paths: Vec<String>,
    /// The paths of redirects to all of them.
    old_paths: Vec<String>,
    /// The ids of what is hidden.
    secret_ids: BTreeSet<String>,
}

impl Hidden {
    async fn new() -> Self {
        let mut this = Self {
            database: TestDatabase::new().await,
            section_ids: Vec::new(),
            section_slugs: Vec::new(),
            item_ids: Vec::new(),
            item_slugs: Vec::new(),
            former_slugs: Vec::new(),
            paths: vec!["/".to_owned()],
            old_paths: Vec::new(),
            secret_ids: BTreeSet::new(),
        };
        for (kind, collection) in KINDS {
            this.insert(kind, collection).await;
        }
        this.insert_webhook().await;
        this
    }

    /// Adds a webhook that is disabled, and a delivery.
    async fn insert_webhook(&self) {
        let (id, now) = (ObjectId::parse_str(WEBHOOK).unwrap(), DateTime::now());
        let webhook = doc! {
            "_id": id, "url": format!("https://{SECRET}.example.com/"), "description": SECRET,
            "kinds": null, "events": null, "secret": format!("whsec_{}", "A".repeat(32)),
            "former_secret": null, "former_secret_until": null, "is_enabled": false,
            "failure": null, "disabled_reason": null, "missed": [], "version": 1_i64,
            "createdDate": now, "updatedDate": now,
        };
        self.database.insert("webhooks", [webhook]).await;
        let delivery = doc! {
            "_id": id, "webhook_id": id, "message_id": "msg_1", "sequence": 1_i64, "item": "stories",
            "type": "stories.changed", "body": format!(r#"{{"data":"{SECRET}"}}"#),
            "state": "delivered", "requested": false, "once": false, "attempt_count": 0_i64,
            "attempts": [], "tries": 0_i64, "failing_since": null, "next_attempt_at": null,
            "finished_at": now, "createdDate": now,
        };
        self.database.insert("webhook_deliveries", [delivery]).await;
    }

    /// Adds a revision of an item or a section, in which it was hidden and had another text.
    async fn insert_revision(&self, name: &str, collection: &str, item: &Document) {
        let mut before = item.clone();
        before.extend(doc! { "title": SECRET, "content": SECRET, "is_published": false });
        let mut bytes = Vec::new();
        before.to_writer(&mut bytes).unwrap();
        let size = bytes.len() as i64;
        let head = doc! { "kind": collection, "item": item.get_object_id("_id").unwrap() };
        let mut id = head.clone();
        id.insert("n", 1_i64);
        let revision = doc! {
            "_id": id, "createdDate": DateTime::now(), "user_id": SECRET, "action": "changed",
            "fields": ["content"], "bytes": size, "is_partial": false,
            "document": Binary { subtype: BinarySubtype::Generic, bytes },
        };
        let head = doc! { "_id": head, "first": 1_i64, "last": 1_i64, "bytes": size };
        self.database.insert(name, [head, revision]).await;
    }

    /// Adds a redirect to something, which may be hidden.
    async fn redirect(&mut self, name: &str, target: Document) {
        let (from, now) = (format!("/old-{name}"), DateTime::now());
        let redirect = doc! {
            "_id": &from, "to": target, "status": 301, "createdDate": now, "updatedDate": now,
        };
        self.database.insert("content_redirects", [redirect]).await;
        self.old_paths.push(from);
    }

    async fn insert(&mut self, kind: &str, collection: &str) {
        let display = if kind == "page" { "static-page" } else { "feed" };
        let mut sections: BTreeMap<&str, (String, String)> = BTreeMap::new();
        // Name, what is above it, and how it is hidden.
        for (name, above, fields) in [
            ("shown", None, doc! { "title": "Open" }),
            ("draft", None, doc! { "is_published": false }),
            ("trash", None, doc! { "is_deleted": true }),
            ("below-draft", Some("draft"), doc! {}),
            ("below-trash", Some("trash"), doc! {}),
            ("deep-below-draft", Some("below-draft"), doc! {}),
            ("deep-below-trash", Some("below-trash"), doc! {}),
            ("lost", None, doc! { "parent_id": ObjectId::new().to_hex() }),
            ("undecided", None, doc! { "is_published": Bson::Null }),
            ("unclear", None, doc! { "is_published": "perhaps" }),
            ("below-unclear", Some("unclear"), doc! {}),
            ("unclear-deletion", None, doc! { "is_deleted": "perhaps" }),
            ("unclear-parent", None, doc! { "parent_id": "perhaps" }),
            ("unclear-trash", None, doc! { "is_published": "perhaps", "is_deleted": true }),
        ] {
            let id = ObjectId::new();
            let slug = format!("{name}-{kind}");
            let (parent, path) = match above {
                Some(above) => {
                    let (id, path) = &sections[above];
                    (Some(id.clone()), format!("{path}/{slug}"))
                }
                None => (None, format!("/{slug}")),
            };
            let mut section = doc! {
                "_id": id, "title": SECRET, "slug": &slug, "parent_id": parent,
                "display_type": display, "content_type": kind, "nav_visibility": "main",
                "sort_order": 7, "is_published": true, "is_deleted": false,
            };
            section.extend(fields);
            self.insert_revision("section_revisions", "sections", &section).await;
            self.database.insert("sections", [section]).await;
            if name != "shown" {
                self.secret_ids.insert(id.to_hex());
            }
            self.section_ids.push(id.to_hex());
            self.redirect(&slug, doc! { "section": { "id": id.to_hex() } }).await;
            self.section_slugs.push(slug);
            self.paths.push(path.clone());
            sections.insert(name, (id.to_hex(), path));
        }
        let shown = sections["shown"].0.clone();
        let here = doc! { "section_id": &shown };
        let open = doc! { "title": "Open", "content": "<p>Open</p>", "summary": "Open" };
        let with = |one: &Document, other: Document| {
            let mut all = one.clone();
            all.extend(other);
            all
        };
        let draft = sections["draft"].0.clone();
        let mut items = vec![
            ("open".to_owned(), with(&open, here.clone())),
            ("loose".to_owned(), with(&open, doc! { "section_id": null })),
            ("dangling".to_owned(), with(&open, doc! { "section_id": "ffffffffffffffffffffffff" })),
            ("a-draft".to_owned(), with(&here, doc! { "is_published": false })),
            (
                "a-scheduled".to_owned(),
                with(&here, doc! { "is_published": false, "turbulence_publish_at": DateTime::MAX }),
            ),
            ("a-deleted".to_owned(), with(&here, doc! { "deleted": true })),
            (
                "a-deleted-draft".to_owned(),
                with(&here, doc! { "deleted": true, "is_published": false }),
            ),
            ("an-odd-one".to_owned(), with(&here, doc! { "is_published": "perhaps" })),
            (
                "a-text-dated".to_owned(),
                doc! { "section_id": &draft, "createdDate": "2024-03-01T00:00:00Z" },
            ),
            ("an-object-id".to_owned(), doc! { "section_id": draft.parse::<ObjectId>().unwrap() }),
            ("upper-case".to_owned(), doc! { "section_id": draft.to_uppercase() }),
        ];
        for (name, (id, _)) in sections.iter().filter(|(name, _)| **name != "shown") {
            items.push((format!("in-{name}"), doc! { "section_id": id }));
        }
        for (day, (name, fields)) in items.into_iter().enumerate() {
            let id = ObjectId::new();
            let slug = format!("{name}-{kind}");
            let created = DateTime::from_millis(1_704_067_200_000 + day as i64 * 86_400_000);
            let mut item = doc! {
                "_id": id, "title": SECRET, "content": format!("<p>{SECRET}</p>"), "slug": &slug,
                "page_type": &slug, "summary": SECRET, "is_published": true, "createdDate": created,
                "updatedDate": created,
            };
            item.extend(fields);
            if item.get_str("title").unwrap() == SECRET {
                self.secret_ids.insert(id.to_hex());
            }
            self.insert_revision("content_revisions", collection, &item).await;
            self.database.insert(collection, [item]).await;
            self.item_ids.push(id.to_hex());
            // A draft beside what is published, or not.
            let draft = doc! {
                "_id": { "collection": collection, "item": id.to_hex() },
                "body": { "title": SECRET, "content": format!("<p>{SECRET}</p>") },
                "base": "", "user_id": null, "createdDate": created, "updatedDate": created,
            };
            self.database.insert("content_drafts", [draft]).await;
            let former = format!("was-{slug}");
            let redirect = doc! {
                "_id": { "collection": collection, "slug": &former }, "item_id": id,
                "createdDate": created,
            };
            self.database.insert("content_former_slugs", [redirect]).await;
            self.paths.push(format!("{}/{former}", sections["shown"].1));
            self.former_slugs.push(former);
            self.redirect(&slug, doc! { "item": { "kind": collection, "id": id.to_hex() } }).await;
            for above in ["shown", "draft", "deep-below-trash"] {
                self.paths.push(format!("{}/{slug}", sections[above].1));
            }
            if let Some(own) = name.strip_prefix("in-") {
                self.paths.push(format!("{}/{slug}", sections[own].1));
            }
            // Where it may have been before.
            self.paths.push(format!("/gone/{slug}"));
            self.item_slugs.push(slug);
        }
    }

    /// Returns the hidden title or the id of hidden content in an answer, if there is one.
    fn leak<'a>(&'a self, answer: &'a Answer) -> Option<&'a str> {
        let text = answer.body.to_string();
        if text.contains(SECRET) {
            return Some(SECRET);
        }
        self.secret_ids.iter().map(String::as_str).find(|id| text.contains(id))
    }
}

/// The values of the parameters of routes.
struct Values<'a> {
    hidden: &'a Hidden,
    /// Cursors that an editor was given, by the list that they are of.
    cursors: BTreeMap<String, Vec<String>>,
}

impl Values<'_> {
    fn of(&self, route: &Route, parameter: &Parameter) -> Vec<String> {
        let own = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let Hidden {
            section_ids,
            section_slugs,
            item_ids,
            item_slugs,
            former_slugs,
            paths,
            old_paths,
            ..
        } = self.hidden;
        let is_of_sections = route.path.starts_with("/sections");
        match (parameter.place.as_str(), parameter.name.as_str()) {
            ("path", "id") if is_of_sections => section_ids.clone(),
            // For admins: the ids of stored ones.
            ("path", "id" | "delivery_id") if route.path.starts_with("/webhooks") => {
                own(&[WEBHOOK])
            }
            ("query", "state") => own(&["pending", "delivered", "failed"]),
            ("path", "id") => item_ids.clone(),
            ("path", "number") => own(&["1"]),
            ("query", "compare_with") => own(&["present"]),
            ("path", "path") if route.path.starts_with("/feeds") => {
                let feeds = [".rss", ".atom", ".json"].into_iter();
                let of = |end: &str| {
                    let end = end.to_owned();
                    paths.iter().map(move |path| path[1..].to_owned() + &end)
                };
                feeds.flat_map(of).collect()
            }
            ("query", "part") => own(&["sections", "stories", "projects", "pages"]),
            ("path", "path") => own(&["20241201_123456_abc12345.webp"]),
            ("path", "slug") if is_of_sections => section_slugs.clone(),
            ("path", "slug") => [item_slugs.as_slice(), former_slugs].concat(),
            ("path", "page_type") => item_slugs.clone(),
            ("query", "path") => [paths.as_slice(), old_paths].concat(),
            ("query", "limit") => own(&["1", "50"]),
            ("query", "offset") => own(&["1", "5"]),
            ("query", "created_after" | "created_before") => own(&["2024-01-01", "2030-01-01"]),
            ("query", "is_featured") => own(&["true", "false"]),
            // Not signed: a link shows what its maker wanted to show.
            ("query", "token") => own(&["a.b"]),
            ("query", "tag") => own(&["open", SECRET]),
            ("query", "view") => own(&["full", "card"]),
            ("query", "fields") => own(&["id,title,excerpt", "content,slug"]),
            ("query", "sort") => Sort::ALL.map(|sort| sort.as_str().to_owned()).into(),
            // Those of the changes: from now on, and from a place that is not remembered.
            ("query", "cursor") if route.path == "/changes" => own(&["", "1-1"]),
            ("query", "kind") => own(&["sections", "stories,projects,pages"]),
            ("query", "cursor") if route.path.ends_with("/revisions") => own(&["2"]),
            ("query", "cursor") => self.cursors.get(&route.path).cloned().unwrap_or_default(),
            ("query", "q") => own(&["open", SECRET]),
            ("query", "from" | "prefix") => own(&["/old-draft-story"]),
            ("query", "size") => own(&["750"]),
            ("query", "unused") => own(&["true"]),
            ("query", "section") => section_slugs.clone(),
            ("query", "section_id" | "parent_id") => section_ids.clone(),
            ("query", "content_type") => own(&["story", "project", "page"]),
            ("query", "nav_visibility") => own(&["main", "footer", "hidden"]),
            // Asked for by editors, and refused to everybody else.
            ("query", "include_drafts") => own(&["true", "false"]),
            // Every answer is asked for again with the tags that were given with it.
            ("header", "If-None-Match" | "Range") => Vec::new(),
            (place, name) => panic!(
                "{} {} has the {place} parameter `{name}`: say here what it is to be set to",
                route.method, route.path
            ),
        }
    }

    /// Every address of a route: its path with every value, without and with each parameter.
    fn addresses(&self, route: &Route) -> Vec<String> {
        let mut paths = vec![route.path.clone()];
        for parameter in route.of("path") {
            let place = format!("{{{}}}", parameter.name);
            let values = self.of(route, parameter);
            let with = |path: &String| {
                values.iter().map(|value| path.replace(&place, value)).collect::<Vec<_>>()
            };
            paths = paths.iter().flat_map(with).collect();
        }
        let queries = route.of("query").flat_map(|parameter| {
            let values = self.of(route, parameter).into_iter();
            values.map(|value| format!("?{}={}", parameter.name, encoded(&value)))
        });
        let mut queries: Vec<_> = queries.collect();
        for parameter in route.of("header") {
            self.of(route, parameter);
        }
        if !route.parameters.iter().any(|one| one.place == "query" && one.is_required) {
            queries.push(String::new());
        }
        paths
            .iter()
            .flat_map(|path| queries.iter().map(move |query| path.clone() + query))
            .collect()
    }
}

struct Walk<'a> {
    hidden: &'a Hidden,
    /// And whether drafts can be asked for there.
    addresses: Vec<(String, bool)>,
    editor: &'a Api,
    stranger: Api,
}

impl<'a> Walk<'a> {
    async fn new(hidden: &'a Hidden, front: &'a Front) -> Self {
        let mut values = Values { hidden, cursors: BTreeMap::new() };
        for (_, list) in KINDS {
            let mut cursors = Vec::new();
            for limit in [1, 4] {
                let page = front.get(&format!("/{list}?include_drafts=true&limit={limit}")).await;
                cursors.push(page.body["next_cursor"].as_str().unwrap().to_owned());
            }
            values.cursors.insert(format!("/{list}"), cursors);
        }
        let routes = front.routes().await;
        let read: Vec<_> = routes.iter().filter(|route| route.method == "GET").collect();
        assert!(read.len() >= 14, "{read:#?}");
        let addresses = read.iter().flat_map(|route| {
            let addresses = values.addresses(route).into_iter();
            addresses.map(|address| (address, route.has("include_drafts")))
        });
        let mut addresses: Vec<_> = addresses.collect();
        for (kind, list) in KINDS {
            let pages = values.cursors[&format!("/{list}")].iter();
            let pages = pages.map(|cursor| format!("/resolve?path=/shown-{kind}&cursor={cursor}"));
            addresses.extend(pages.map(|address| (address, true)));
        }
        let stranger = Api::new(&*front.url).sent_by(None);
        Self { hidden, addresses, editor: front, stranger }
    }

    /// Asks for everything, as an editor first, so that whatever is remembered has what is hidden.
    /// Answers the ids of what the editor saw of it.
    async fn finds_nothing(&self, what: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        for (address, has_drafts) in &self.addresses {
            let mut asked = vec![address.clone()];
            if *has_drafts && !address.contains("include_drafts") {
                let separator = if address.contains('?') { '&' } else { '?' };
                asked.push(format!("{address}{separator}include_drafts=true"));
            }
            let mut known = Vec::new();
            for address in asked {
                let answer = self.editor.get(&address).await;
                assert!(answer.status < 500, "{address}: {answer:?}");
                known.push((answer.header("etag").to_owned(), answer.body.clone()));
                let text = answer.body.to_string();
                let found = self.hidden.secret_ids.iter().filter(|id| text.contains(*id));
                seen.extend(found.map(String::as_str));
            }
            let plain = self.stranger.get(address).await;
            let leak = self.hidden.leak(&plain);
            assert_eq!(leak, None, "{what}: {address} is answered {plain:?}");
            // Nobody is given more for a wrong token, or for knowing what an editor was given.
            let wrong = [("authorization", "Bearer wrong")];
            let answer = self.stranger.send("GET", address, &wrong, None).await;
            assert_eq!(self.hidden.leak(&answer), None, "{what}: {address}: {answer:?}");
            let mut tags = vec!["\"unknown\"".to_owned()];
            for (tag, body) in known.into_iter().filter(|(tag, _)| !tag.is_empty()) {
                if tag == plain.header("etag") {
                    assert_eq!(body, plain.body, "{what}: {address} has one tag for two answers");
                } else {
                    tags.push(tag);
                }
            }
            self.assert_is_not_confirmed(what, address, &tags, plain.status).await;
            if plain.status != 200 {
                let any = [("if-none-match", "*")];
                let answer = self.stranger.send("GET", address, &any, None).await;
                assert_eq!(answer.status, plain.status, "{what}: {address} *");
            }
        }
        seen
    }

    async fn assert_is_not_confirmed(
        &self,
        what: &str,
        address: &str,
        tags: &[String],
        status: u16,
    ) {
        let tags = tags.join(", ");
        let answer = self.stranger.send("GET", address, &[("if-none-match", &tags)], None).await;
        assert_eq!(answer.status, status, "{what}: {address} {tags}");
        assert_eq!(self.hidden.leak(&answer), None, "{what}: {address}: {answer:?}");
    }

    /// Returns the addresses that the public sees now and that will be hidden again, with their tags.
    /// Each is requested twice, so that it is cached.
    async fn shown(&self) -> Vec<(&str, Vec<String>)> {
        let mut shown = Vec::new();
        for (address, _) in &self.addresses {
            let answer = self.stranger.get(address).await;
            if self.hidden.leak(&answer).is_some() {
                let mut tags = vec![answer.header("etag").to_owned()];
                let again = [("if-none-match", &*tags[0])];
                let again = self.stranger.send("GET", address, &again, None).await;
                // A total may be of a moment ago; then there is another tag now.
                tags.push(again.header("etag").to_owned());
                shown.push((address.as_str(), tags));
            }
        }
        shown
    }

    /// None of what was shown is shown any more, or said to be as it was.
    async fn is_hidden_again(&self, what: &str, shown: &[(&str, Vec<String>)]) {
        for (address, tags) in shown {
            let plain = self.stranger.get(address).await;
            assert_eq!(self.hidden.leak(&plain), None, "{what}: {address} is answered {plain:?}");
            self.assert_is_not_confirmed(what, address, tags, plain.status).await;
        }
    }
}

#[tokio::test]
async fn nothing_that_is_not_public_is_answered_by_any_route() {
    let hidden = Hidden::new().await;
    let front = Front::start(&hidden.database, &SETTINGS).await;
    let walk = Walk::new(&hidden, &front).await;
    for (slug, id) in hidden.item_slugs.iter().zip(&hidden.item_ids) {
        if let Some(kind) = slug.strip_prefix("open-") {
            let (_, collection) = KINDS.iter().find(|(one, _)| *one == kind).unwrap();
            let draft = front.get(&format!("/{collection}/{id}/draft")).await;
            assert_eq!((draft.status, hidden.leak(&draft)), (200, Some(SECRET)), "{draft:?}");
        }
    }
    // For editors, every item that is not in the trash has a revision to find.
    let revision = format!("/stories/{}/revisions/1", hidden.item_ids[0]);
    assert_eq!(front.get(&revision).await.body["item"]["title"], SECRET);
    let seen = walk.finds_nothing("at first").await;
    // What can be seen by editors was seen: the walk leads there.
    let in_trash = doc! { "$or": [{ "deleted": true }, { "is_deleted": true }] };
    let mut never = BTreeSet::new();
    for collection in ["sections", "stories", "projects", "pages"] {
        let mut found =
            hidden.database.collection(collection).find(in_trash.clone()).await.unwrap();
        while found.advance().await.unwrap() {
            never.insert(
                found.deserialize_current().unwrap().get_object_id("_id").unwrap().to_hex(),
            );
        }
    }
    let expected: BTreeSet<_> = hidden.secret_ids.difference(&never).map(String::as_str).collect();
    assert!(expected.is_subset(&seen), "{:?}", expected.difference(&seen));
    // And everything once more, with all that is remembered by now.
    walk.finds_nothing("when caches are warm").await;
    for (_, kind) in KINDS {
        let list = walk.stranger.get(&format!("/{kind}?limit=50")).await.body;
        let items = list["items"].as_array().unwrap();
        assert!(items.iter().all(|item| item["title"] == "Open"), "{list}");
        assert_eq!((items.len() as u64, &list["total"]), (OPEN, &json!(OPEN)), "{kind}");
        for (id, slug) in hidden.section_ids.iter().zip(&hidden.section_slugs) {
            if !slug.starts_with("shown") {
                let list = walk.stranger.get(&format!("/{kind}?section_id={id}")).await.body;
                assert_eq!((&list["total"], &list["items"]), (&json!(0), &json!([])), "{slug}");
            }
        }
    }
}

/// One change that shows something and one that hides it again: method, path, body.
type Change = (&'static str, String, Value);

#[tokio::test]
async fn what_is_unpublished_or_deleted_is_gone_with_the_answer_that_says_so() {
    let hidden = Hidden::new().await;
    let front = Front::start(&hidden.database, &SETTINGS).await;
    let walk = Walk::new(&hidden, &front).await;
    let publish = |is_published: bool| json!({ "is_published": is_published });
    for (kind, collection) in KINDS {
        let id_of = |name: &str| {
            let slug = format!("{name}-{kind}");
            let at = hidden.item_slugs.iter().position(|one| *one == slug).unwrap();
            format!("/{collection}/{}", hidden.item_ids[at])
        };
        let (draft, trash) = (id_of("a-draft"), id_of("a-deleted"));
        let changes: [(&str, Change, Change); 2] = [
            (
                "unpublished",
                ("PATCH", draft.clone(), publish(true)),
                ("PATCH", draft, publish(false)),
            ),
            (
                "deleted",
                ("POST", format!("{trash}/restore"), Value::Null),
                ("DELETE", trash, Value::Null),
            ),
        ];
        for (what, show, hide) in changes {
            let what = format!("a {kind} that was {what}");
            let answer = front.call(show.0, &show.1, show.2).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let shown = walk.shown().await;
            assert!(shown.len() >= 4, "{what}: {shown:?}");
            let answer = front.call(hide.0, &hide.1, hide.2).await;
            assert!([200, 204].contains(&answer.status), "{answer:?}");
            walk.is_hidden_again(&what, &shown).await;
        }
    }
}

#[tokio::test]
async fn what_sections_hide_is_gone_within_a_second_and_stays_so() {
    let hidden = Hidden::new().await;
    let front = Front::start(&hidden.database, &SETTINGS).await;
    let walk = Walk::new(&hidden, &front).await;
    let at = |name: &str| {
        let at = hidden.section_slugs.iter().position(|slug| slug == name).unwrap();
        format!("/sections/{}", hidden.section_ids[at])
    };
    let publish = |is_published: bool| json!({ "is_published": is_published });
    let draft = at("draft-story");
    let below = at("below-draft-project");
    let above = at("draft-project");
    let changes: [(&str, Change, Change); 2] = [
        ("draft-story", ("PATCH", draft.clone(), publish(true)), ("PATCH", draft, publish(false))),
        // Moved to where everybody sees it, and below the draft again.
        (
            "below-draft-project",
            ("PATCH", below.clone(), json!({ "parent_id": null })),
            ("PATCH", below, json!({ "parent_id": above.trim_start_matches("/sections/") })),
        ),
    ];
    for (slug, show, hide) in changes {
        let kind = slug.rsplit_once('-').unwrap().1;
        let item = format!("/in-{}-{kind}", slug.trim_end_matches(&format!("-{kind}")));
        let path = format!("/resolve?path=/{slug}{item}");
        let answer = front.call(show.0, &show.1, show.2).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        eventually("it is shown", async || walk.stranger.get(&path).await.status == 200).await;
        let shown = walk.shown().await;
        assert!(shown.len() >= 15, "{slug}: {shown:?}");
        let answer = front.call(hide.0, &hide.1, hide.2).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let began = Instant::now();
        // Sections themselves at once.
        let of_sections = shown.iter().filter(|(address, _)| address.starts_with("/sections"));
        let of_sections: Vec<_> = of_sections.cloned().collect();
        assert!(!of_sections.is_empty());
        walk.is_hidden_again(slug, &of_sections).await;
        eventually("nothing of it is shown", async || {
            for (address, _) in &shown {
                if hidden.leak(&walk.stranger.get(address).await).is_some() {
                    return false;
                }
            }
            true
        })
        .await;
        assert!(began.elapsed() < SOON, "{slug}: {:?}", began.elapsed());
        walk.is_hidden_again(slug, &shown).await;
    }
    walk.finds_nothing("at the end").await;
}
