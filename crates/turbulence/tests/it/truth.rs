//! Random writes by anyone and random reads through two gateways: each answer was true at most a second
//! before it was asked for, and none shows what was hidden.
//!
//! `TURBULENCE_TRUTH_SECONDS` makes it run for this time, and `TURBULENCE_TRUTH_SEED` repeats a run.

use std::{
    collections::BTreeSet,
    env,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gateway::Timeouts;
use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Answer, Api, Random, Service, TestDatabase, settings};
use tokio::task::JoinSet;

use crate::front::{Front, Gate};

/// The largest age of an answer. A second (ADR 0032), unless the machine of a short run is busy.
const MAX_AGE: Duration = Duration::from_secs(1);
const MAX_AGE_WHEN_BUSY: Duration = Duration::from_secs(5);

/// The number of writes of a short run, of those before a migration, and of the readers of each gateway.
const WRITES: usize = 60;
const WRITES_BEFORE_MIGRATION: usize = 30;
const READERS: usize = 2;

#[derive(Debug, Clone)]
struct Section {
    id: String,
    slug: String,
    parent: Option<usize>,
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

/// The site as it is at some time.
#[derive(Debug, Clone, Default)]
struct Site {
    sections: Vec<Section>,
    stories: Vec<Story>,
}

impl Site {
    fn is_shown(&self, section: usize) -> bool {
        let Section { parent, is_published, .. } = &self.sections[section];
        *is_published && parent.is_none_or(|parent| self.is_shown(parent))
    }

    fn path(&self, section: usize) -> String {
        let Section { parent, slug, .. } = &self.sections[section];
        format!("{}/{slug}", parent.map(|parent| self.path(parent)).unwrap_or_default())
    }

    fn shown(&self) -> impl Iterator<Item = &Story> {
        self.stories
            .iter()
            .filter(|one| one.is_published && !one.is_deleted && self.is_shown(one.section))
    }

    fn path_of(&self, story: &Story) -> String {
        format!("{}/{}", self.path(story.section), story.slug)
    }
}

/// A question to a gateway.
#[derive(Debug, Clone)]
enum Question {
    Tree,
    Slug(String),
    List(Option<String>),
    Path(String),
}

/// A part of an answer, and `true` if it includes what was written through the same gateway.
type Part = (Value, bool);

impl Question {
    fn random(site: &Site, random: &mut Random) -> Self {
        let story = &site.stories[random.below(site.stories.len())];
        match random.below(6) {
            0 => Self::Tree,
            1 | 2 => Self::Slug(story.slug.clone()),
            3 => Self::List(None),
            4 => Self::List(Some(site.sections[random.below(site.sections.len())].id.clone())),
            _ => Self::Path(site.path_of(story)),
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Tree => "/sections/tree".to_owned(),
            Self::Slug(slug) => format!("/stories/slug/{slug}"),
            Self::List(None) => "/stories?limit=50".to_owned(),
            Self::List(Some(section)) => format!("/stories?limit=50&section_id={section}"),
            Self::Path(path) => format!("/resolve?path={path}"),
        }
    }

    /// Returns the answer that is true of a site.
    fn expected(&self, site: &Site) -> Vec<Part> {
        match self {
            Self::Tree => {
                let shown = (0..site.sections.len()).filter(|one| site.is_shown(*one));
                let paths: BTreeSet<_> = shown.map(|one| site.path(one)).collect();
                vec![(json!(paths), true)]
            }
            Self::Slug(slug) => {
                let story = site.shown().find(|one| one.slug == *slug);
                vec![(json!(story.map(|one| &one.title)), true)]
            }
            Self::List(section) => {
                let is_in = |one: &&Story| {
                    section.as_ref().is_none_or(|id| *id == site.sections[one.section].id)
                };
                let titles: BTreeSet<_> =
                    site.shown().filter(is_in).map(|one| &one.title).collect();
                // A total that is expensive to count may be that of a moment ago.
                vec![(json!(titles), true), (json!(titles.len()), false)]
            }
            Self::Path(path) => {
                let story = site.shown().find(|one| site.path_of(one) == *path);
                vec![(json!(story.map(|one| &one.title)), true)]
            }
        }
    }

    /// Returns the same of an answer.
    fn found(&self, answer: &Answer) -> Vec<Value> {
        let title = |body: &Value| body["title"].clone();
        match self {
            Self::Tree => {
                let mut paths = BTreeSet::new();
                collect_paths("", &answer.body, &mut paths);
                vec![json!(paths)]
            }
            Self::Slug(_) => {
                vec![if answer.status == 200 { title(&answer.body) } else { Value::Null }]
            }
            Self::List(_) => {
                let items = answer.body["items"].as_array().unwrap();
                let titles: BTreeSet<_> = items.iter().map(|one| title(one).to_string()).collect();
                let titles = titles.iter().map(|one| serde_json::from_str::<Value>(one).unwrap());
                vec![titles.collect(), answer.body["total"].clone()]
            }
            // Another path than its own leads to the story as a redirect.
            Self::Path(_) if answer.body["kind"] == "item" => vec![title(&answer.body["content"])],
            Self::Path(_) => vec![Value::Null],
        }
    }
}

/// Adds the paths of the sections, but for those of the first migration that stay as they are.
fn collect_paths(above: &str, sections: &Value, paths: &mut BTreeSet<String>) {
    for section in sections.as_array().unwrap() {
        let path = format!("{above}/{}", section["slug"].as_str().unwrap());
        collect_paths(&path, &section["children"], paths);
        if !["/about", "/projects", "/contact"].contains(&path.as_str()) {
            paths.insert(path);
        }
    }
}

/// A state of the site, and the write that made it.
#[derive(Debug)]
struct Version {
    site: Site,
    began: Instant,
    /// The end of the write, once it is known, and the gateway that it went through.
    ended: Option<Instant>,
    gateway: Option<usize>,
    write: String,
}

#[derive(Debug, Default)]
struct History(Vec<Version>);

impl History {
    fn now(&self) -> &Site {
        &self.0.last().unwrap().site
    }

    /// Returns the fault of an answer, if it has one.
    fn fault(
        &self,
        question: &Question,
        found: &[Value],
        gateway: usize,
        (asked, answered): (Instant, Instant),
        max_age: Duration,
    ) -> Option<String> {
        let is_own = |version: &Version| {
            version.gateway == Some(gateway) && version.ended.is_some_and(|ended| ended < asked)
        };
        let own = self.0.iter().rposition(is_own).unwrap_or_default();
        let is_recent = |number: usize| match self.0.get(number + 1) {
            Some(Version { ended: Some(ended), .. }) => *ended + max_age >= asked,
            _ => true,
        };
        let possible: Vec<_> = (0..self.0.len())
            .filter(|number| self.0[*number].began <= answered && is_recent(*number))
            .collect();
        for (place, found) in found.iter().enumerate() {
            let fits = |number: &&usize| {
                let (expected, includes_own) = &question.expected(&self.0[**number].site)[place];
                expected == found && (!includes_own || **number >= own)
            };
            if possible.iter().any(|number| fits(&number)) {
                continue;
            }
            let all: Vec<_> = possible
                .iter()
                .map(|number| {
                    let Version { write, began, .. } = &self.0[*number];
                    let before = asked.saturating_duration_since(*began);
                    let expected = &question.expected(&self.0[*number].site)[place].0;
                    format!("{before:?} before, {write}: {expected}")
                })
                .collect();
            return Some(format!(
                "{} through gateway {gateway}: {found} (own writes from {own} on)\n{}",
                question.path(),
                all.join("\n")
            ));
        }
        None
    }
}

/// The writer of a run.
struct Writer {
    database: TestDatabase,
    gates: Vec<Gate>,
    history: Arc<Mutex<History>>,
    random: Random,
    count: usize,
}

impl Writer {
    /// Makes a change, and records the state of the site after it.
    async fn write(
        &mut self,
        write: String,
        change: impl FnOnce(&mut Site),
        made: Made<'_>,
    ) -> Value {
        let began = Instant::now();
        let gateway = matches!(made, Made::Api(..)).then(|| self.random.below(self.gates.len()));
        {
            let mut history = self.history.lock().unwrap();
            let mut site = history.now().clone();
            change(&mut site);
            history.0.push(Version { site, began, ended: None, gateway, write: write.clone() });
        }
        let answer = match made {
            Made::Api(method, path, body) => {
                let answer = self.gates[gateway.unwrap()].call(method, &path, body).await;
                assert!(answer.status < 300, "{write}: {answer:?}");
                answer.body
            }
            Made::Direct(collection, id, set) => {
                let filter = doc! { "_id": id.parse::<ObjectId>().unwrap() };
                let collection = self.database.collection(collection);
                let updated = collection.update_one(filter, doc! { "$set": set }).await.unwrap();
                assert_eq!(updated.matched_count, 1, "{write}");
                Value::Null
            }
        };
        self.history.lock().unwrap().0.last_mut().unwrap().ended = Some(Instant::now());
        answer
    }

    async fn add_story(&mut self) {
        self.count += 1;
        let title = format!("Story {}", self.count);
        let slug = format!("story-{}", self.count);
        let (section, id) = {
            let history = self.history.lock().unwrap();
            let section = self.random.below(history.now().sections.len());
            (section, history.now().sections[section].id.clone())
        };
        let body = json!({ "title": title, "content": "<p>Text.</p>", "section_id": id });
        let story = Story {
            id: String::new(),
            slug,
            title,
            is_published: true,
            is_deleted: false,
            section,
        };
        let made = Made::Api("POST", "/stories".to_owned(), body);
        let created = self.write("a new story".to_owned(), |site| site.stories.push(story), made);
        let created = created.await;
        let mut history = self.history.lock().unwrap();
        let story = history.0.last_mut().unwrap().site.stories.last_mut().unwrap();
        assert_eq!(created["slug"], story.slug);
        created["id"].as_str().unwrap().clone_into(&mut story.id);
    }

    /// Makes a random change.
    async fn change(&mut self) {
        self.count += 1;
        let site = self.history.lock().unwrap().now().clone();
        let (number, at) = (self.count, self.random.below(site.stories.len()));
        let (story, place) = (site.stories[at].clone(), self.random.below(site.sections.len()));
        let section = site.sections[place].clone();
        let path = format!("/stories/{}", story.id);
        let is_direct = self.random.below(3) == 0;
        match self.random.below(12) {
            0 if site.stories.len() < 40 => self.add_story().await,
            1..=3 if !story.is_deleted => {
                let title = format!("Title {number}");
                let made = match is_direct {
                    true => Made::Direct("stories", story.id, doc! { "title": &title }),
                    false => Made::Api("PATCH", path, json!({ "title": title })),
                };
                let what = format!("title of {}", story.slug);
                self.write(what, |site| site.stories[at].title = title, made).await;
            }
            4 | 5 if !story.is_deleted => {
                let is_published = !story.is_published;
                let made = match is_direct {
                    true => {
                        Made::Direct("stories", story.id, doc! { "is_published": is_published })
                    }
                    false => Made::Api("PATCH", path, json!({ "is_published": is_published })),
                };
                let what = format!("{} is published: {is_published}", story.slug);
                self.write(what, |site| site.stories[at].is_published = is_published, made).await;
            }
            6 | 7 if !story.is_deleted => {
                let made = match (is_direct, number % 2) {
                    (true, _) => {
                        Made::Direct("stories", story.id, doc! { "section_id": section.id })
                    }
                    (false, 0) => Made::Api("PATCH", path, json!({ "section_id": section.id })),
                    (false, _) => {
                        let content = json!({ "ids": [story.id] });
                        let body = json!({ "content_type": "story", "content": content, "section_id": section.id });
                        Made::Api("POST", "/content/move".to_owned(), body)
                    }
                };
                let what = format!("{} to {}", story.slug, section.slug);
                self.write(what, |site| site.stories[at].section = place, made).await;
            }
            8 => {
                let is_deleted = !story.is_deleted;
                let made = match (is_direct, is_deleted) {
                    (true, _) => Made::Direct("stories", story.id, doc! { "deleted": is_deleted }),
                    (false, true) => Made::Api("DELETE", path, Value::Null),
                    (false, false) => Made::Api("POST", format!("{path}/restore"), Value::Null),
                };
                let what = format!("{} is deleted: {is_deleted}", story.slug);
                self.write(what, |site| site.stories[at].is_deleted = is_deleted, made).await;
            }
            // The migration finds the first one by its slug.
            9 if place > 0 => {
                let slug = format!("s-{place}-{number}");
                let made = match is_direct {
                    true => Made::Direct("sections", section.id, doc! { "slug": &slug }),
                    false => {
                        let path = format!("/sections/{}", section.id);
                        Made::Api("PATCH", path, json!({ "slug": slug }))
                    }
                };
                let what = format!("section {} is {slug}", section.slug);
                self.write(what, |site| site.sections[place].slug = slug, made).await;
            }
            10 => {
                let is_published = !section.is_published;
                let made = match is_direct {
                    true => {
                        Made::Direct("sections", section.id, doc! { "is_published": is_published })
                    }
                    false => {
                        let path = format!("/sections/{}", section.id);
                        Made::Api("PATCH", path, json!({ "is_published": is_published }))
                    }
                };
                let what = format!("section {} is published: {is_published}", section.slug);
                let change = |site: &mut Site| site.sections[place].is_published = is_published;
                self.write(what, change, made).await;
            }
            // The last one is moved between the first two.
            11 => {
                let last = site.sections.len() - 1;
                let parent = match site.sections[last].parent {
                    Some(0) => 1,
                    _ => 0,
                };
                let body = json!({ "parent_id": site.sections[parent].id });
                let made =
                    Made::Api("PATCH", format!("/sections/{}", site.sections[last].id), body);
                let what = format!("the last section to {}", site.sections[parent].slug);
                self.write(what, |site| site.sections[last].parent = Some(parent), made).await;
            }
            _ => {}
        }
    }

    /// A story loses its section, and a migration of a process that starts links it to the blog.
    async fn migrate(&mut self, sections: &str) {
        let site = self.history.lock().unwrap().now().clone();
        let at = self.random.below(site.stories.len());
        let story = site.stories[at].clone();
        // While it belongs to none everybody sees it; so it is hidden first.
        let made = Made::Direct("stories", story.id.clone(), doc! { "is_published": false });
        let hide = |site: &mut Site| site.stories[at].is_published = false;
        self.write(format!("{} is hidden", story.slug), hide, made).await;
        let stories = self.database.collection("stories");
        let filter = doc! { "_id": story.id.parse::<ObjectId>().unwrap() };
        let unset: Document = doc! { "$unset": { "section_id": "" } };
        stories.update_one(filter, unset).await.unwrap();
        let settings = settings(&self.database, &[("sections.url", sections)]);
        let other = Service::content(&settings).await;
        other.migrated().await;
        other.stop().await.unwrap();
        self.history.lock().unwrap().0.last_mut().unwrap().site.stories[at].section = 0;
        let made = Made::Direct("stories", story.id, doc! { "is_published": true });
        let show = |site: &mut Site| site.stories[at].is_published = true;
        self.write(format!("{} is linked by a migration", story.slug), show, made).await;
    }
}

/// The way in which a change is made.
enum Made<'a> {
    Api(&'a str, String, Value),
    Direct(&'a str, String, Document),
}

/// Reads at random for as long as it is polled. Returns at the first fault.
async fn read(
    api: Api,
    gateway: usize,
    history: Arc<Mutex<History>>,
    mut random: Random,
    max_age: Duration,
) -> String {
    loop {
        let question = {
            let history = history.lock().unwrap();
            let recent = history.0.len() - 1 - random.below(history.0.len().min(4));
            Question::random(&history.0[recent].site, &mut random)
        };
        let asked = Instant::now();
        let answer = api.get(&question.path()).await;
        let answered = Instant::now();
        if !matches!(answer.status, 200 | 404) {
            return format!("{}: {answer:?}", question.path());
        }
        let found = question.found(&answer);
        let times = (asked, answered);
        let fault = history.lock().unwrap().fault(&question, &found, gateway, times, max_age);
        if let Some(fault) = fault {
            return format!("{fault}\n{}", answer.header("cache-status"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_of_two_gateways_was_true_a_moment_ago() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let long = number("TURBULENCE_TRUTH_SECONDS");
    let max_age = if long.is_some() { MAX_AGE } else { MAX_AGE_WHEN_BUSY };
    let until = long.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let seed = number("TURBULENCE_TRUTH_SEED").unwrap_or(7);
    println!("TURBULENCE_TRUTH_SEED={seed}");

    let database = TestDatabase::new().await;
    let front = Front::start(&database, &[]).await;
    let (sections_url, content_url) = (front.sections.url.clone(), front.content.url.clone());
    let Front { gate, sections: _sections, content: _content, .. } = front;
    let other = Gate::start(&database, &sections_url, &content_url, Timeouts::default()).await;
    let gates = vec![gate, other];

    let mut site = Site::default();
    let blog = gates[0].get("/sections/slug/blog").await.id();
    let section = |id: String, slug: &str, parent| {
        let slug = slug.to_owned();
        Section { id, slug, parent, is_published: true }
    };
    site.sections.push(section(blog, "blog", None));
    for (slug, parent) in [("s-a", None), ("s-b", Some(0)), ("s-c", Some(2)), ("s-d", Some(1))] {
        let parent_id = parent.map(|parent: usize| site.sections[parent].id.clone());
        let body =
            json!({ "title": slug, "slug": slug, "content_type": "story", "parent_id": parent_id });
        let created = gates[0].call("POST", "/sections", body).await;
        site.sections.push(section(created.id(), slug, parent));
    }
    let now = Instant::now();
    let first =
        Version { site, began: now, ended: Some(now), gateway: None, write: "first".to_owned() };
    let history = Arc::new(Mutex::new(History(vec![first])));
    let urls: Vec<_> = gates.iter().map(|gate| gate.url.clone()).collect();
    let random = Random(seed);
    let mut writer = Writer { database, gates, history: history.clone(), random, count: 0 };
    for _ in 0..12 {
        writer.add_story().await;
    }
    let mut readers = JoinSet::new();
    for (gateway, url) in urls.iter().enumerate() {
        for reader in 0..READERS {
            let api = Api::new(url.clone()).sent_by(None);
            let random = Random(seed + 1 + (gateway * READERS + reader) as u64);
            readers.spawn(read(api, gateway, history.clone(), random, max_age));
        }
    }
    let writing = async {
        for number in 1.. {
            writer.change().await;
            // Between two writes answers become old enough to be kept.
            let pause = Duration::from_millis(writer.random.below(60) as u64);
            tokio::time::sleep(pause).await;
            if number % WRITES == WRITES_BEFORE_MIGRATION {
                writer.migrate(&sections_url).await;
            }
            if until.map_or(number >= WRITES, |until| Instant::now() >= until) {
                break;
            }
        }
    };
    tokio::select! {
        () = writing => {}
        Some(fault) = readers.join_next() => panic!("seed {seed}: {}", fault.unwrap()),
    }
}

#[test]
fn an_answer_that_was_never_true_or_is_too_old_is_a_fault() {
    let section = |is_published| {
        let (id, slug) = ("1".to_owned(), "blog".to_owned());
        Section { id, slug, parent: None, is_published }
    };
    let story = |title: &str, is_published| Story {
        id: "2".to_owned(),
        slug: "a".to_owned(),
        title: title.to_owned(),
        is_published,
        is_deleted: false,
        section: 0,
    };
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let version = |seconds, sections, stories, gateway| Version {
        site: Site { sections: vec![sections], stories: vec![stories] },
        began: at(seconds),
        ended: Some(at(seconds)),
        gateway,
        write: String::new(),
    };
    let history = History(vec![
        version(0, section(true), story("A", true), None),
        version(10, section(true), story("B", true), Some(0)),
        version(20, section(true), story("B", false), None),
        version(30, section(false), story("C", true), None),
    ]);
    let slug = Question::Slug("a".to_owned());
    let fault = |title: Value, gateway, asked| {
        let times = (at(asked), at(asked));
        history.fault(&slug, &[title], gateway, times, Duration::from_secs(1)).is_some()
    };
    // The second gateway may answer the former title for a second.
    let (a, b, none) = (json!("A"), json!("B"), Value::Null);
    assert!(!fault(a.clone(), 0, 5) && !fault(a.clone(), 1, 11) && !fault(b.clone(), 0, 11));
    assert!(fault(a.clone(), 0, 11), "what was written through the same gateway is answered");
    assert!(fault(a, 1, 12), "it is too old");
    assert!(fault(b.clone(), 0, 5), "it is not true yet");
    assert!(!fault(b.clone(), 0, 21) && fault(b, 0, 22), "a draft");
    assert!(fault(json!("C"), 0, 31) && !fault(none, 0, 31), "its section is hidden");
}
