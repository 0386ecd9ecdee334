//! The public changes after a place.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use data_service::server_clock;
use models::{PublicChange, PublicEvent, PublicKind, SectionEntry, changes::Revision};
use mongo_kit::{
    Connection, DatabaseError,
    feed::{Change, ChangeKind, Feed, FeedEvent, WatchedCollection, cluster_time},
    is_transient,
};
use mongodb::bson::{self, doc};
use serde::{Deserialize, Serialize};
use service_kit::{runtime::clock::Clock, web::changes::LEASE};
use tokio::time::{sleep, timeout};

use super::{position::Position, sections};
use crate::{
    domain::audience::Directory,
    kinds::{Collections, ContentCollection},
    sections_feed::{KnownSections, SectionsFeed, fetched::READ_TIMEOUT},
    store::{
        collections::SITE_SETTINGS,
        redirects::REDIRECTS,
        states::{ItemState, is_forgotten},
    },
};

/// The largest number of items of a kind in an answer of the database that are told one by one: each
/// costs a read. An answer has more if a program changes them in bulk.
const MAX_ITEMS: usize = 50;

/// The collections besides those of items, with the kind that their changes concern. Each of the facts that
/// every page shows concerns anything.
const OTHERS: [(&str, Option<PublicKind>); 2] =
    [(REDIRECTS, Some(PublicKind::REDIRECTS)), (SITE_SETTINGS, None)];

/// The longest wait for an answer of the database, which comes every 25 ms, before the sections are
/// looked at all the same.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The longest slug and path that are told, in bytes. No browser opens longer ones reliably.
const MAX_TEXT_BYTES: usize = 2_048;

/// The distance by which sections-service may be behind its other replicas, as a difference of revisions:
/// a minute. States that are further behind are those of another database.
pub(super) const MAX_LAG: u64 = 60 << 32;

/// The pause after a failed read.
const PAUSE: Duration = Duration::from_millis(200);

/// The time by which clocks of machines may differ. Only states of sections whose revision is unknown,
/// those of an earlier version of sections-service, are ordered by a clock.
const MAX_SKEW_SECONDS: i64 = 5;

/// The sources of the changes. Clones share their state.
#[derive(Clone)]
pub(crate) struct Source {
    connection: Connection,
    collections: Collections,
    sections: Arc<dyn SectionsFeed>,
    clock: Clock,
}

impl Source {
    pub(crate) fn new(
        connection: &Connection,
        collections: Collections,
        sections: Arc<dyn SectionsFeed>,
    ) -> Self {
        let clock = server_clock(connection);
        Self { connection: connection.clone(), collections, sections, clock }
    }

    /// Returns the present state of the database of this service.
    pub(crate) async fn now(&self) -> mongodb::error::Result<Revision> {
        let ping = self.connection.database().run_command(doc! { "ping": 1 }).await?;
        let time = ping.get_timestamp("operationTime").map_err(mongodb::error::Error::custom)?;
        Ok(Revision::new(cluster_time(time)))
    }

    /// Returns the present place, for a reader that begins later.
    pub(crate) async fn checkpoint(&self) -> mongodb::error::Result<Checkpoint> {
        // First: changes between the two reads are told twice rather than never.
        let known = self.sections.latest(None).await;
        let position = Position {
            content: self.now().await?,
            sections: known.as_ref().map(|known| revision(known, self)).unwrap_or_default(),
        };
        let sections = known.map(|known| known.directory.entries().to_vec());
        Ok(Checkpoint { position, sections })
    }

    /// Returns the present time by the clock of the database.
    pub(crate) fn time(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

/// A place from which a projector continues. It is stored with the changes before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) position: Position,
    /// The sections at that place, or `None` if they are unknown: then their changes since are told as
    /// one of all sections.
    pub(crate) sections: Option<Vec<SectionEntry>>,
}

/// A public change without its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(super) kind: Option<PublicKind>,
    pub(super) event: PublicEvent,
    pub(super) id: Option<String>,
    pub(super) section_id: Option<String>,
    pub(super) slug: Option<String>,
    pub(super) path: Option<String>,
    pub(super) previous_section_id: Option<String>,
    pub(super) previous_slug: Option<String>,
    pub(super) previous_path: Option<String>,
    /// The time, or `None` for that at which the change was noticed.
    pub(super) time: Option<DateTime<Utc>>,
}

/// Returns the change of anything of a kind, or of anything at all.
pub(crate) fn changed(kind: Option<PublicKind>) -> Facts {
    Facts {
        kind,
        event: PublicEvent::Changed,
        id: None,
        section_id: None,
        slug: None,
        path: None,
        previous_section_id: None,
        previous_slug: None,
        previous_path: None,
        time: None,
    }
}

impl Facts {
    /// Gives the change its place. Its size is bounded, since many are kept.
    pub(crate) fn at(self, position: &Position, now: DateTime<Utc>) -> PublicChange {
        let short = |text: Option<String>| text.filter(|text| text.len() <= MAX_TEXT_BYTES);
        PublicChange {
            kind: self.kind,
            event: self.event,
            id: self.id,
            section_id: short(self.section_id),
            slug: short(self.slug),
            path: short(self.path),
            previous_section_id: short(self.previous_section_id),
            previous_slug: short(self.previous_slug),
            previous_path: short(self.previous_path),
            cursor: position.to_string(),
            time: self.time.unwrap_or(now),
        }
    }
}

/// Tells the public changes after a place, in their order and at least once.
pub(crate) struct Projector {
    source: Source,
    feed: Feed,
    /// The answers of the database that are not told yet.
    answers: VecDeque<Answer>,
    /// The changes that are not old enough to be told, and the places after them.
    steps: VecDeque<Step>,
    /// The sections that the changes in `steps` include.
    directory: Option<Arc<Directory>>,
    /// The place after the changes in `steps`.
    next: Position,
    /// The place after the changes that were returned, and the sections then.
    last: (Position, Option<Arc<Directory>>),
    /// The states of the databases then.
    state: Position,
    /// The state of the database up to which it is unknown which sections were public at a change.
    sections_unknown_until: Revision,
    /// The collections whose changes are not reported at the moment, and the place before.
    suspended: HashMap<&'static str, Revision>,
    /// The end of the time for which sections are not fetched after a failure.
    no_fetch_until: Option<Instant>,
    /// `true` until the first answer of a projector that begins now, before which nothing is told.
    begins_now: bool,
    /// `true` if changes were told while no sections were known.
    is_without_sections: bool,
}

/// An answer of the database.
struct Answer {
    received: Instant,
    events: Vec<FeedEvent>,
}

impl Answer {
    /// Returns `true` if the sections that are known now include all changes before the answer.
    fn is_due(&self) -> bool {
        self.received.elapsed() >= LEASE
    }
}

/// Changes that are told together.
struct Step {
    ready_at: Instant,
    changes: Vec<PublicChange>,
    position: Position,
    state: Position,
    directory: Option<Arc<Directory>>,
}

/// A changed item.
struct Item<'a> {
    place: usize,
    id: &'a str,
    at: u64,
    time: Option<DateTime<Utc>>,
    is_new: bool,
}

/// The knowledge about an item before its change.
#[derive(Clone, Copy)]
enum Former<'a> {
    Known(Option<&'a ItemState>),
    Unknown,
}

impl Projector {
    /// Begins at a place, or now.
    pub(crate) fn new(source: Source, from: Option<Checkpoint>) -> Self {
        let names = watched(source.collections.iter().map(|one| &**one));
        let watched: Vec<_> = names.map(|name| WatchedCollection { name, fields: &[] }).collect();
        let database = source.connection.database().clone();
        let since = from.as_ref().map(|from| from.position.content);
        let feed = Feed::new(database, &watched, since.map(Revision::number));
        let begins_now = from.is_none();
        let position = from.as_ref().map(|from| from.position).unwrap_or_default();
        let directory = from.and_then(|from| from.sections).map(Directory::new).map(Arc::new);
        Self {
            source,
            feed,
            answers: VecDeque::new(),
            steps: VecDeque::new(),
            last: (position, directory.clone()),
            state: position,
            directory,
            next: position,
            // Until the sections are known for the first time.
            sections_unknown_until: Revision::new(u64::MAX),
            suspended: HashMap::new(),
            no_fetch_until: None,
            begins_now,
            is_without_sections: false,
        }
    }

    /// Returns the place after the changes that were returned.
    pub(crate) fn position(&self) -> Position {
        self.last.0
    }

    /// Returns the states of the databases that the changes which were returned include. They are later
    /// than [`position`](Self::position) while there are too many changes to be told.
    pub(crate) fn state(&self) -> Position {
        self.state
    }

    /// Returns the place after the changes that were returned, to be stored with them.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let (position, directory) = &self.last;
        let sections = directory.as_ref().map(|directory| directory.entries().to_vec());
        Checkpoint { position: *position, sections }
    }

    /// Waits for the next step and returns its changes, of which there may be none. Nothing is lost if the
    /// future is dropped.
    pub(crate) async fn next(&mut self) -> Vec<PublicChange> {
        loop {
            let is_ready = self.steps.front().is_some_and(|step| step.ready_at <= Instant::now());
            if is_ready && let Some(step) = self.steps.pop_front() {
                self.last = (step.position, step.directory);
                self.state = step.state;
                return step.changes;
            }
            if !self.answers.front().is_some_and(Answer::is_due)
                && let Ok(events) = timeout(MAX_WAIT, self.feed.next()).await
            {
                self.answers.push_back(Answer { received: Instant::now(), events });
            }
            if let Err(error) = self.project().await {
                let error = DatabaseError::from(error);
                tracing::debug!(%error, "changed items cannot be read");
                sleep(PAUSE).await;
            }
        }
    }

    /// Makes a step of the changes of the sections and of the next answer that is old enough: the
    /// sections that are known when a lease has passed include all changes before the answer.
    async fn project(&mut self) -> mongodb::error::Result<()> {
        let is_due = self.answers.front().is_some_and(Answer::is_due);
        let answer = self.answers.front().filter(|_| is_due);
        let changed = match answer {
            Some(answer) => Some(Changed::read(&self.source, &answer.events).await?),
            None => None,
        };
        // After the items: their sections are among them.
        let is_needed = changed.as_ref().is_some_and(|changed| !changed.items.is_empty());
        let sections = latest(&self.source, &mut self.no_fetch_until, is_needed).await;
        let before = self.directory.clone();
        let mut position = self.next;
        let mut facts = Vec::new();
        if let Some(sections) = &sections {
            facts = self.changes_of_sections(before.as_deref(), &sections.directory, &position);
            let revision = revision(sections, &self.source);
            // The revisions begin again if the database is replaced.
            let is_replaced = revision.number() + MAX_LAG < position.sections.number();
            position.sections =
                if is_replaced { revision } else { position.sections.max(revision) };
            if self.sections_unknown_until == Revision::new(u64::MAX) {
                let is_same = before
                    .as_ref()
                    .is_some_and(|before| before.entries() == sections.directory.entries());
                self.sections_unknown_until = match is_same {
                    true => Revision::ZERO,
                    false => self.source.now().await?,
                };
            }
        }
        let after = sections.map(|sections| sections.directory).or(before.clone());
        let ready_at = match facts.is_empty() {
            true => Instant::now(),
            // Every gateway has heard of it then.
            false => Instant::now() + LEASE,
        };
        if let Some(changed) = changed.filter(|_| !self.begins_now) {
            let directories = Directories {
                before: before.as_deref(),
                after: after.as_deref(),
                unknown_until: self.sections_unknown_until,
            };
            facts.extend(changed.facts(&directories));
        }
        // From here on nothing waits, so that the step is made as a whole.
        let answer = if is_due { self.answers.pop_front() } else { None };
        if let Some(answer) = &answer {
            self.advance(&mut position, &answer.events);
            self.is_without_sections |= after.is_none();
            self.begins_now = false;
        }
        self.directory.clone_from(&after);
        if answer.is_none() && facts.is_empty() {
            return Ok(());
        }
        let changes = self.place(facts, &position);
        self.next = position;
        let (state, position) = (position, self.told(position));
        self.steps.push_back(Step { ready_at, changes, position, state, directory: after });
        Ok(())
    }

    fn changes_of_sections(
        &self,
        before: Option<&Directory>,
        after: &Directory,
        position: &Position,
    ) -> Vec<Facts> {
        match before {
            Some(before) => sections::changes(before, after),
            // Those since the place are unknown, and so is the content that was hidden since.
            None if position.sections != Revision::ZERO || self.is_without_sections => {
                PublicKind::all().map(|kind| changed(Some(kind))).collect()
            }
            None => Vec::new(),
        }
    }

    /// Moves the place past an answer.
    fn advance(&mut self, position: &mut Position, events: &[FeedEvent]) {
        for event in events {
            match event {
                FeedEvent::Confirmed { at, .. } => {
                    let at = Revision::new(*at);
                    // A database that was replaced by an earlier state of itself.
                    position.content = at;
                }
                FeedEvent::Suspended { collection } => {
                    self.suspended.entry(collection).or_insert(self.next.content);
                }
                FeedEvent::Reset { collections, .. } => {
                    self.suspended.retain(|one, _| !collections.contains(one));
                }
                FeedEvent::Changed(_) => {}
            }
        }
    }

    /// Returns the place that readers may continue from: not one within a time of which changes are still
    /// to be told.
    fn told(&self, mut position: Position) -> Position {
        for before in self.suspended.values() {
            position.content = position.content.min(*before);
        }
        position
    }

    /// Gives changes their places. All but the last have the one before the step: it is repeated as a
    /// whole for a reader that did not get all of it.
    fn place(&self, facts: Vec<Facts>, position: &Position) -> Vec<PublicChange> {
        let (before, after) = (self.told(self.next), self.told(*position));
        let (count, now) = (facts.len(), self.source.time());
        let places = (1..=count).map(|number| if number == count { &after } else { &before });
        facts.into_iter().zip(places).map(|(facts, place)| facts.at(place, now)).collect()
    }
}

/// Returns the names of the collections whose changes are told, those of items first.
fn watched<'a>(
    items: impl Iterator<Item = &'a dyn ContentCollection>,
) -> impl Iterator<Item = &'static str> {
    items.map(|one| one.kind().content_type().collection()).chain(OTHERS.map(|(name, _)| name))
}

/// Returns the sections: those of this moment if `is_needed`, else the last known ones.
async fn latest(
    source: &Source,
    no_fetch_until: &mut Option<Instant>,
    is_needed: bool,
) -> Option<KnownSections> {
    let may_fetch = no_fetch_until.is_none_or(|until| until <= Instant::now());
    if is_needed && may_fetch {
        *no_fetch_until = None;
        if let Ok(Ok(sections)) = timeout(READ_TIMEOUT, source.sections.fetch(None)).await {
            return Some(sections);
        }
        *no_fetch_until = Some(Instant::now() + READ_TIMEOUT);
    }
    source.sections.latest(None).await
}

/// Returns the state of sections. If it is unknown, it is a time that is not after it.
fn revision(sections: &KnownSections, source: &Source) -> Revision {
    sections.revision.unwrap_or_else(|| {
        let seconds = source.time().timestamp() - MAX_SKEW_SECONDS;
        Revision::new(u64::try_from(seconds).unwrap_or_default() << 32)
    })
}

/// The sections before and after the time of an answer.
struct Directories<'a> {
    before: Option<&'a Directory>,
    after: Option<&'a Directory>,
    /// The state of the database before which others may have been public.
    unknown_until: Revision,
}

/// The changes of an answer, with the items that they concern.
struct Changed<'a> {
    collections: Vec<&'a Arc<dyn ContentCollection>>,
    items: Vec<Item<'a>>,
    /// The collections of which anything may have changed, by their places.
    any: BTreeSet<usize>,
    /// The items as they are now, by the place of their kind.
    present: Vec<HashMap<String, ItemState>>,
    /// The items as they were before a time, by the place of their kind; `None` if that is unknown.
    former: HashMap<(usize, u64), Option<HashMap<String, ItemState>>>,
}

impl<'a> Changed<'a> {
    async fn read(source: &'a Source, events: &'a [FeedEvent]) -> mongodb::error::Result<Self> {
        let collections: Vec<_> = source.collections.iter().collect();
        let names: Vec<_> = watched(collections.iter().map(|one| &***one)).collect();
        let place = |name: &str| names.iter().position(|one| *one == name);
        let mut items = Vec::new();
        let mut counts = vec![0; names.len()];
        let mut reset = BTreeSet::new();
        let mut suspended = HashSet::new();
        for event in events {
            match event {
                FeedEvent::Changed(change) => {
                    let Some(place) = place(change.collection) else { continue };
                    match place < collections.len() {
                        true => add(&mut items, &mut counts[place], place, change),
                        false => drop(reset.insert(place)),
                    }
                }
                FeedEvent::Reset { collections, .. } => {
                    reset.extend(collections.iter().filter_map(|name| place(name)));
                }
                FeedEvent::Suspended { collection } => suspended.extend(place(collection)),
                FeedEvent::Confirmed { .. } => {}
            }
        }
        items.retain(|item: &Item<'_>| {
            let place = item.place;
            counts[place] <= MAX_ITEMS && !reset.contains(&place) && !suspended.contains(&place)
        });
        // The changes of a suspended kind are told when its changes are reported again.
        let many = (0..names.len()).filter(|place| counts[*place] > MAX_ITEMS);
        let any = many.filter(|place| !suspended.contains(place)).chain(reset).collect();
        let mut present = vec![HashMap::new(); names.len()];
        for (place, collection) in collections.iter().enumerate() {
            let of_kind = items.iter().filter(|item| item.place == place);
            let ids: Vec<_> =
                of_kind.map(|item| item.id).collect::<HashSet<_>>().into_iter().collect();
            if !ids.is_empty() {
                present[place] = collection.states(&ids, None).await?;
            }
        }
        let mut former = HashMap::new();
        // Those of a transaction have the same time.
        let times: BTreeSet<_> =
            items.iter().filter(|item| !item.is_new).map(|item| (item.place, item.at)).collect();
        for (place, at) in times {
            let same = |item: &&Item<'_>| (item.place, item.at) == (place, at);
            let ids: Vec<_> = items.iter().filter(same).map(|item| item.id).collect();
            former.insert((place, at), former_states(&**collections[place], &ids, at).await?);
        }
        Ok(Self { collections, items, any, present, former })
    }

    /// Returns the part of them that the public may know.
    fn facts(mut self, directories: &Directories<'_>) -> Vec<Facts> {
        let mut facts = Vec::new();
        for item in &self.items {
            let former = match self.former.get(&(item.place, item.at)) {
                _ if item.is_new => Former::Known(None),
                Some(Some(states)) => Former::Known(states.get(item.id)),
                Some(None) | None => Former::Unknown,
            };
            let present = self.present[item.place].get(item.id);
            match directories.change(&**self.collections[item.place], item, former, present) {
                Told::Change(change) => facts.push(change),
                Told::Something => {
                    self.any.insert(item.place);
                }
                Told::Nothing => {}
            }
        }
        let kind = |place: &usize| match self.collections.get(*place) {
            Some(collection) => Some(PublicKind::of(collection.kind().content_type())),
            None => OTHERS[place - self.collections.len()].1,
        };
        let any = self.any.iter().map(|place| changed(kind(place)));
        any.chain(facts).collect()
    }
}

impl Directories<'_> {
    fn change(
        &self,
        collection: &dyn ContentCollection,
        item: &Item<'_>,
        former: Former<'_>,
        present: Option<&ItemState>,
    ) -> Told {
        let now = present.filter(|state| is_visible(state, self.after));
        let was_seen =
            |state: &ItemState| is_visible(state, self.before) && is_visible(state, self.after);
        let is_unknown = |state: &ItemState| {
            state.section.is_some() && Revision::new(item.at) <= self.unknown_until
        };
        let (before, is_known) = match former {
            Former::Known(None) => (None, true),
            Former::Known(Some(state)) if was_seen(state) => (Some(state), !is_unknown(state)),
            // The sections were unknown before, and with them the visibility of the item.
            Former::Known(Some(state))
                if self.before.is_none() && state.section.is_some() && state.is_public =>
            {
                (None, false)
            }
            Former::Known(Some(_)) => (None, true),
            Former::Unknown => (None, false),
        };
        let is_gone = present.is_none_or(|state| state.is_deleted);
        let event = match (before, now) {
            (_, None) if !is_known => return Told::Something,
            (None, None) => return Told::Nothing,
            (Some(_), None) if is_gone => PublicEvent::Deleted,
            (Some(_), None) => PublicEvent::Unpublished,
            (None, Some(_)) if item.is_new => PublicEvent::Created,
            (None, Some(_)) => match former {
                Former::Known(None) => PublicEvent::Created,
                Former::Known(Some(state)) if state.is_deleted => PublicEvent::Restored,
                Former::Known(Some(_)) => PublicEvent::Published,
                Former::Unknown => PublicEvent::Updated,
            },
            (Some(before), Some(now)) => {
                let place = |state: &ItemState| {
                    (state.section.clone(), state.address.clone(), state.slug.clone())
                };
                let is_same = place(before) == place(now);
                if is_same { PublicEvent::Updated } else { PublicEvent::Moved }
            }
        };
        let before = before.filter(|_| is_known);
        let path = |state: &ItemState, directory| path(collection, state, directory);
        let path_now = now.and_then(|state| path(state, self.after));
        let slug = now.and_then(|state| state.address.clone());
        let section_id = now.or(before).and_then(|state| state.section.clone());
        Told::Change(Facts {
            kind: Some(PublicKind::of(collection.kind().content_type())),
            event,
            id: Some(item.id.to_owned()),
            previous_section_id: before
                .and_then(|state| state.section.clone())
                .filter(|id| Some(id) != section_id.as_ref()),
            previous_slug: before
                .and_then(|state| state.address.clone())
                .filter(|former| Some(former) != slug.as_ref()),
            previous_path: before
                .and_then(|state| path(state, self.before))
                .filter(|former| Some(former) != path_now.as_ref()),
            section_id,
            slug,
            path: path_now,
            time: item.time,
        })
    }
}

/// The part of a change that the public may know.
enum Told {
    Change(Facts),
    /// Something of the kind may have changed.
    Something,
    Nothing,
}

/// Adds the item of a change, once for each time. One without an id is never public.
fn add<'a>(items: &mut Vec<Item<'a>>, count: &mut usize, place: usize, change: &'a Change) {
    let Some(id) = change.id.as_deref() else { return };
    // Nothing can be told of it, and it is in no list of changes by its id.
    if id.len() > MAX_TEXT_BYTES {
        return;
    }
    let is_same = |item: &Item<'_>| item.place == place && item.id == id && item.at == change.at;
    if items.iter().rev().take_while(|item| item.at == change.at).any(is_same) {
        return;
    }
    *count += 1;
    let seconds = i64::try_from(change.at >> 32).unwrap_or_default();
    let wall_time = change.wall_time.map(bson::DateTime::timestamp_millis);
    let time = match wall_time {
        Some(milliseconds) => DateTime::from_timestamp_millis(milliseconds),
        None => DateTime::from_timestamp(seconds, 0),
    };
    let is_new = change.kind == ChangeKind::Inserted;
    items.push(Item { place, id, at: change.at, time, is_new });
}

/// Returns items as they were before a change, or `None` if that cannot be known.
async fn former_states(
    collection: &dyn ContentCollection,
    ids: &[&str],
    at: u64,
) -> mongodb::error::Result<Option<HashMap<String, ItemState>>> {
    match collection.states(ids, Some(at.saturating_sub(1))).await {
        Ok(states) => Ok(Some(states)),
        Err(error) if is_forgotten(&error) => Ok(None),
        Err(error) if is_transient(&error) => Err(error),
        Err(error) => {
            let error = DatabaseError::from(error);
            tracing::warn!(%error, "items cannot be read as they were before a change");
            Ok(None)
        }
    }
}

/// Returns `true` if the public sees an item, with these sections. Without any, it sees no content of
/// sections.
fn is_visible(state: &ItemState, directory: Option<&Directory>) -> bool {
    state.is_public
        && match (&state.section, directory) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(section), Some(directory)) => !directory.hides(section),
        }
}

/// Returns the path of an item on the site.
fn path(
    collection: &dyn ContentCollection,
    state: &ItemState,
    directory: Option<&Directory>,
) -> Option<String> {
    let slug = state.slug.as_deref().unwrap_or_default();
    // Which of several items without a slug a static page shows is not asked here.
    let is_shown = slug.is_empty();
    let content_type = collection.kind().content_type();
    directory?.item_path(content_type, state.section.as_deref()?, slug, is_shown)
}
