//! Reads at any replica after writes at any other, as a gateway sends them: with the newest states that
//! it knows.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use models::changes::Revision;
use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use service_kit::web::changes::{REVISIONS, Revisions};
use test_support::{Answer, Api, Random, Service, TestDatabase, settings};

use crate::support::content;

/// The number of writes of a run, each with some reads.
const WRITES: usize = 60;

#[derive(Debug, Clone)]
struct Section {
    id: String,
    slug: String,
    is_published: bool,
}

#[derive(Debug, Clone)]
struct Story {
    id: String,
    slug: String,
    title: String,
    is_published: bool,
    is_deleted: bool,
    section: usize,
}

/// The site as it must be read, and the replicas.
struct Model {
    database: TestDatabase,
    sections: Vec<Section>,
    stories: Vec<Story>,
    of_sections: [Api; 2],
    of_content: [Api; 2],
    /// The newest states that a gateway would know.
    known: Revisions,
    random: Random,
    written: usize,
}

impl Model {
    fn learn(&mut self, answer: &Answer) {
        let Ok(revisions) = answer.header(REVISIONS).parse::<Revisions>() else { return };
        self.known.content = self.known.content.max(revisions.content);
        self.known.sections = self.known.sections.max(revisions.sections);
    }

    /// Writes to one of two replicas.
    async fn write(&mut self, to_sections: bool, method: &str, path: &str, body: Value) -> Answer {
        let replica = self.random.below(2);
        let api = if to_sections { &self.of_sections[replica] } else { &self.of_content[replica] };
        let answer = api.call(method, path, body).await;
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        self.learn(&answer);
        answer
    }

    /// Writes to the database as another program does, of which a gateway hears by the feeds.
    async fn write_directly(&mut self, collection: &str, id: &str, set: Document) {
        let id: ObjectId = id.parse().unwrap();
        let update = doc! { "$set": set };
        let collection = self.database.collection(collection);
        let changed = collection.update_one(doc! { "_id": id }, update).await.unwrap();
        assert_eq!(changed.matched_count, 1);
        let ping = self.database.database().run_command(doc! { "ping": 1 }).await.unwrap();
        let time = ping.get_timestamp("operationTime").unwrap();
        let now = Some(Revision::new((u64::from(time.time) << 32) | u64::from(time.increment)));
        self.known = Revisions { content: now, sections: now };
    }

    async fn add_section(&mut self, title: &str) {
        let body = json!({ "title": title, "content_type": "story" });
        let id = self.write(true, "POST", "/sections", body).await.id();
        let slug = title.to_lowercase();
        self.sections.push(Section { id, slug, is_published: true });
    }

    async fn add_story(&mut self) {
        let number = self.written;
        let section = self.random.below(self.sections.len());
        let title = format!("Story {number}");
        let body = json!({ "title": title, "content": "<p>Text.</p>", "section_id": self.sections[section].id });
        let created = self.write(false, "POST", "/stories", body).await;
        let slug = created.body["slug"].as_str().unwrap().to_owned();
        self.stories.push(Story {
            id: created.id(),
            slug,
            title,
            is_published: true,
            is_deleted: false,
            section,
        });
    }

    /// Makes a random change.
    async fn change(&mut self) -> &'static str {
        self.written += 1;
        let number = self.written;
        let (story, section) =
            (self.random.below(self.stories.len()), self.random.below(self.sections.len()));
        let direct = self.random.coin();
        let one = self.stories[story].clone();
        let path = format!("/stories/{}", one.id);
        match self.random.below(8) {
            0 => {
                self.add_story().await;
                "a new story"
            }
            1 if !one.is_deleted => {
                let title = format!("Title {number}");
                self.stories[story].title.clone_from(&title);
                if direct {
                    self.write_directly("stories", &one.id, doc! { "title": title }).await;
                } else {
                    self.write(false, "PATCH", &path, json!({ "title": title })).await;
                }
                "a title"
            }
            2 if !one.is_deleted => {
                let is_published = !one.is_published;
                self.stories[story].is_published = is_published;
                if direct {
                    let set = doc! { "is_published": is_published };
                    self.write_directly("stories", &one.id, set).await;
                } else {
                    self.write(false, "PATCH", &path, json!({ "is_published": is_published }))
                        .await;
                }
                "a story is published or not"
            }
            3 => {
                self.stories[story].is_deleted = !one.is_deleted;
                if one.is_deleted {
                    self.write(false, "POST", &format!("{path}/restore"), Value::Null).await;
                } else {
                    self.write(false, "DELETE", &path, Value::Null).await;
                }
                "a story is deleted or restored"
            }
            4 if !one.is_deleted => {
                self.stories[story].section = section;
                let body = json!({ "content_type": "story", "content": { "ids": [one.id] },
                    "section_id": self.sections[section].id });
                self.write(false, "POST", "/content/move", body).await;
                "a story is moved"
            }
            5 => {
                let slug = format!("section-{number}");
                self.sections[section].slug.clone_from(&slug);
                let path = format!("/sections/{}", self.sections[section].id);
                self.write(true, "PATCH", &path, json!({ "slug": slug })).await;
                "a section is renamed"
            }
            _ => {
                let is_published = !self.sections[section].is_published;
                self.sections[section].is_published = is_published;
                let id = self.sections[section].id.clone();
                if direct {
                    let set = doc! { "is_published": is_published };
                    self.write_directly("sections", &id, set).await;
                } else {
                    let body = json!({ "is_published": is_published });
                    self.write(true, "PATCH", &format!("/sections/{id}"), body).await;
                }
                "a section is published or not"
            }
        }
    }

    fn is_public(&self, story: &Story) -> bool {
        story.is_published && !story.is_deleted && self.sections[story.section].is_published
    }

    /// Returns a path to read, and the part of the answer that is expected.
    fn expectation(&mut self) -> (String, Value) {
        let story = self.stories[self.random.below(self.stories.len())].clone();
        let section = self.random.below(self.sections.len());
        let of = |wanted: &dyn Fn(&&Story) -> bool| {
            let found = self.stories.iter().filter(|story| self.is_public(story)).filter(wanted);
            let titles: BTreeSet<_> = found.map(|story| story.title.clone()).collect();
            json!({ "total": titles.len(), "titles": titles })
        };
        let of_section = of(&|story| story.section == section);
        let (all, is_public) = (of(&|_| true), self.is_public(&story));
        let place = &self.sections[story.section];
        let Section { id, slug, is_published } = self.sections[section].clone();
        let found = |is_found: bool| if is_found { json!(story.title) } else { Value::Null };
        match self.random.below(5) {
            0 => ("/stories?limit=50".to_owned(), all),
            1 => (format!("/stories?limit=50&section_id={id}"), of_section),
            2 => (format!("/stories/slug/{}", story.slug), found(is_public)),
            3 => (format!("/resolve?path=/{}/{}", place.slug, story.slug), found(is_public)),
            _ => {
                let shown = if is_published { of_section } else { Value::Null };
                (format!("/resolve?limit=50&path=/{slug}"), shown)
            }
        }
    }
}

/// Returns the part of an answer that is compared.
fn shown(answer: &Answer) -> Value {
    let body = answer.body.get("content").filter(|content| content.is_object());
    let body = body.unwrap_or(&answer.body);
    match (answer.status, body["items"].as_array()) {
        (200, Some(items)) => {
            let titles: BTreeSet<_> = items.iter().map(|item| item["title"].as_str()).collect();
            json!({ "total": body["total"], "titles": titles })
        }
        (200, None) => body["title"].clone(),
        (404, _) => Value::Null,
        _ => panic!("{answer:?}"),
    }
}

async fn model(seed: u64) -> (Model, Vec<Service>) {
    let database = TestDatabase::new().await;
    let mut services = Vec::new();
    for _ in 0..2 {
        services.push(Service::sections(&settings(&database, &[])).await);
        services.last().unwrap().migrated().await;
    }
    for number in 0..2 {
        services.push(content(&database, &services[number].url, &[]).await);
        services.last().unwrap().migrated().await;
    }
    database.leases_released().await;
    let api = |number: usize| Api::new(services[number].url.clone());
    let mut model = Model {
        of_sections: [api(0), api(1)],
        of_content: [api(2), api(3)],
        database,
        sections: Vec::new(),
        stories: Vec::new(),
        known: Revisions::default(),
        random: Random(seed),
        written: 0,
    };
    for title in ["Notes", "Essays", "Letters"] {
        model.add_section(title).await;
    }
    for _ in 0..4 {
        model.written += 1;
        model.add_story().await;
    }
    (model, services)
}

#[tokio::test]
async fn no_answer_is_older_than_what_its_gateway_knows() {
    for seed in [1, 7_919] {
        let (mut model, _services) = model(seed).await;
        for step in 0..WRITES {
            let what = model.change().await;
            for _ in 0..4 {
                let (path, expected) = model.expectation();
                let reader = model.of_content[model.random.below(2)].clone().sent_by(None);
                let known = model.known.to_string();
                let answer = reader.send("GET", &path, &[(REVISIONS, &known)], None).await;
                assert_eq!(shown(&answer), expected, "{seed}, {step}: {what}, {path}, {answer:?}");
                model.learn(&answer);
            }
        }
    }
}

#[tokio::test]
async fn an_answer_for_one_who_knows_nothing_is_outdated_for_a_moment_only() {
    let (mut model, _services) = model(3).await;
    for step in 0..WRITES / 2 {
        let what = model.change().await;
        let written = Instant::now();
        for _ in 0..3 {
            let (path, expected) = model.expectation();
            let reader = model.of_content[model.random.below(2)].clone().sent_by(None);
            loop {
                let answer = shown(&reader.get(&path).await);
                if answer == expected {
                    break;
                }
                // A second is promised; the machine may be busy.
                let message = format!("{step}: {what}, {path}, {answer} instead of {expected}");
                assert!(written.elapsed() < Duration::from_secs(5), "{message}");
            }
        }
    }
}
