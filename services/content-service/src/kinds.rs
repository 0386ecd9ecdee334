//! The kinds of content.
//!
//! A kind is one file here: the item as the API answers it, the bodies that write it, and an
//! implementation of [`Kind`](crate::store::kind::Kind). Everything else goes over [`KINDS`] and names
//! no kind: routes and their description, counts, moves, paths, the integrity report and the
//! migrations. To add a kind, add its row to the table of [`ContentType`], its module below, and its
//! line to the list.

mod bodies;
mod page;
mod project;
mod story;

use std::{
    collections::{HashMap, HashSet},
    marker::PhantomData,
    sync::Arc,
    time::Duration,
};

use actix_web::web::ServiceConfig;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use data_service::{
    Abort,
    changes::{Changes, Family, Read, Source},
    report::Unreachable,
};
use futures_util::{future::LocalBoxFuture, stream::BoxStream};
use migrations::{Migration, Skipped};
use models::{
    ContentCounts, ContentType, IntegrityFinding, ObjectId, PageMeta, PlacedItem, Section, Sort,
    changes::Revision, media::MediaUses,
};
use mongo_kit::{Connection, lease::Lease};
use mongodb::{bson::Bson, error::Result};
use serde_json::{Value, value::RawValue};
use service_kit::{
    runtime::settings,
    web::{conditional::IfMatch, error::ApiError},
};
use utoipa::openapi::OpenApi;

use crate::{
    domain::{
        audience::{Audience, Directory},
        content::MovedContent,
        item_paths::{ItemPaths, ShownItems},
        list::{Filter, Limit},
        trash::TrashStart,
    },
    store::{
        authors,
        content::Changed,
        item_tags::TagCounts,
        keys::ContentKeys,
        list::PageRequest,
        moves::MoveError,
        redirects,
        search::{self, Hit},
        site,
        sitemap::{Addressed, PartStart},
        states::ItemState,
        trash::Trashed,
        write::SlugGuard,
    },
};

/// All kinds of content, as many as content types: a row of their table without a kind does not
/// compile.
pub(crate) static KINDS: [&dyn ContentKind; ContentType::ALL.len()] = [
    // In the order of the table.
    &Of::<story::Story>::KIND,
    &Of::<project::Project>::KIND,
    &Of::<page::Page>::KIND,
];

/// The kind of content whose items are of this type.
pub(crate) struct Of<K>(PhantomData<fn() -> K>);

impl<K> Of<K> {
    pub(crate) const KIND: Self = Self(PhantomData);
}

/// A kind of content, for the code that treats all kinds alike.
pub(crate) trait ContentKind: Sync {
    /// Returns the row of the kind in the table of content types.
    fn content_type(&self) -> ContentType;

    /// Returns the singular name in messages, such as `Story`.
    fn name(&self) -> &'static str;

    /// Adds the description of the routes of the kind.
    fn describe(&self, document: &mut OpenApi);

    /// Returns the migration that builds the indexes of the kind, or `None` for the kinds of existing
    /// sites.
    fn index_migration(&self) -> Option<Arc<dyn Migration>>;

    /// Returns the keys of the kind.
    fn keys(&self) -> ContentKeys;

    /// Returns the family of its keys.
    fn family(&self) -> Family;

    /// Opens the collection of the kind.
    fn open(
        &self,
        connection: &Connection,
        changes: &Changes,
        revisions: settings::Revisions,
    ) -> Arc<dyn ContentCollection>;
}

/// The collection of a kind of content, for the code that treats all kinds alike.
#[async_trait]
pub(crate) trait ContentCollection: Send + Sync {
    /// Returns the kind.
    fn kind(&self) -> &'static dyn ContentKind;

    /// Adds the routes of the kind.
    fn configure(self: Arc<Self>, config: &mut ServiceConfig);

    /// Returns the values of `section_id` that contain the digits of an id and more.
    async fn odd_references(&self) -> Result<Read<Arc<[String]>>>;

    /// Returns a page of a list.
    async fn page(&self, filter: &Filter, request: PageRequest<'_>) -> Result<AnyList>;

    /// Returns the items before an item and those after it in a list, the nearest first.
    async fn neighbours(
        &self,
        filter: &Filter,
        sort: Sort,
        id: &str,
        paths: &ItemPaths,
    ) -> Result<Read<[Vec<ListedItem>; 2]>>;

    /// Returns the items that these sections show, each as its whole content.
    async fn shown_items(&self, sections: Vec<ObjectId>) -> Result<Read<Arc<ShownItems>>>;

    /// Returns the oldest visible item of a section.
    async fn first_in(
        &self,
        section: ObjectId,
        audience: &Audience,
        paths: &ItemPaths,
    ) -> Result<Option<AnyItem>>;

    /// Returns the visible item that has the first of these slugs that any has, in a section or in any.
    async fn by_slug(
        &self,
        section: Option<ObjectId>,
        slugs: &[String],
        audience: &Audience,
        paths: &ItemPaths,
    ) -> Result<Option<AnyItem>>;

    /// Returns the visible item that had the first of these slugs that any had.
    async fn by_former_slug(
        &self,
        slugs: &[String],
        audience: &Audience,
        paths: &ItemPaths,
    ) -> Result<Option<AnyItem>>;

    /// Returns an item that a section with this slug below its own would hide.
    async fn hidden_by(&self, section: ObjectId, slug: &str) -> Result<Option<PlacedItem>>;

    /// Returns the visible item with this id.
    async fn visible(
        &self,
        id: &str,
        audience: &Audience,
        paths: &ItemPaths,
    ) -> Result<Option<AnyItem>>;

    /// Returns the present time.
    fn now(&self) -> DateTime<Utc>;

    /// Returns the item with this id, published or not, unless it is deleted or there is none.
    async fn by_id(&self, id: &str, paths: &ItemPaths) -> Result<Option<AnyItem>>;

    /// Returns the item with this id as it will be once its draft is published, or as it is without one.
    async fn drafted(&self, id: &str, paths: &ItemPaths) -> Result<Option<AnyItem>>;

    /// Returns the number of items that have each tag, of those that an audience sees.
    async fn tag_counts(&self, audience: &Audience) -> Result<Read<Arc<TagCounts>>>;

    /// Adds the numbers of items of these sections that are not deleted.
    async fn count_in(&self, sections: &[ObjectId], counts: &mut ContentCounts) -> Result<()>;

    /// Adds the items that show these files, at most `limit` for each file.
    async fn places_of(&self, names: &[String], limit: usize, uses: &mut MediaUses) -> Result<()>;

    /// Moves items to a section, all or none, and returns their number. `may` decides by the owner
    /// of an item whether the caller, a user or none, may move it, and `guard` by its slug whether it has
    /// a path there.
    fn move_to<'a>(
        &'a self,
        content: &'a MovedContent,
        section: ObjectId,
        may: &'a (dyn Fn(Option<&str>) -> std::result::Result<(), ApiError> + Sync),
        guard: SlugGuard<'a>,
        user_id: Option<&'a str>,
    ) -> LocalBoxFuture<'a, std::result::Result<Changed<u64>, Abort<MoveError>>>;

    /// Returns everything that is wrong with the items.
    async fn check_integrity(
        &self,
        sections: &Directory,
        users: &HashSet<String>,
    ) -> Result<Vec<IntegrityFinding>>;

    /// Returns the published items that neither a list nor a look-up finds.
    async fn unreachable(&self, sections: &Directory) -> Result<Unreachable>;

    /// Returns the items with these ids as they are, or as they were at a time of the cluster.
    async fn states(&self, ids: &[&str], at: Option<u64>) -> Result<HashMap<String, ItemState>>;

    /// Returns the starts of the parts of the items of these sections that have an address of their own.
    async fn address_parts(&self, sections: &[ObjectId]) -> Result<Vec<PartStart>>;

    /// Returns the items of a part.
    async fn addressed(
        &self,
        sections: &[ObjectId],
        start: &PartStart,
    ) -> Result<BoxStream<'static, Result<Addressed>>>;

    /// Returns the facts for search engines of the items with these ids.
    async fn page_metas(&self, ids: &[&str]) -> Result<HashMap<String, PageMeta>>;

    /// Returns the newest public items of a section, whole, as the API answers them.
    async fn newest(
        &self,
        section: ObjectId,
        audience: &Audience,
        limit: Limit,
        paths: &ItemPaths,
    ) -> Result<Newest>;

    /// Returns those of these items that the filter matches and that have all of the words, in the order
    /// of the ids.
    async fn hits(
        &self,
        ids: &[Bson],
        filter: &Filter,
        words: &[String],
    ) -> Result<Vec<Option<Hit>>>;

    /// Adds the words of the items that have none, and removes those of items that do not exist.
    async fn fill_search(&self) -> Result<()>;

    /// Returns some items of the trash from a start on; those of this user alone, if there is one.
    async fn trash(
        &self,
        start: &TrashStart,
        owner: Option<&str>,
        count: usize,
    ) -> Result<Vec<Trashed>>;

    /// Returns those of these slugs that items have which are not deleted.
    async fn taken_slugs(&self, slugs: &[&str]) -> Result<HashSet<String>>;

    /// Removes an item of the trash for good, and returns the keys of the change.
    fn purge<'a>(
        &'a self,
        id: &'a str,
        if_match: &'a IfMatch,
    ) -> LocalBoxFuture<'a, std::result::Result<Vec<String>, ApiError>>;

    /// Returns `true` if items were deleted by this service longer ago than that. Fails as long as the
    /// index of the trash does not exist.
    async fn has_old_trash(&self, after: Duration) -> Result<bool>;

    /// Removes some of the items that were deleted longer ago than that, and returns their number.
    async fn empty_trash(&self, after: Duration, lease: &Lease) -> Result<u64>;

    /// Returns the groups of documents that an operator may want to know about although nothing is
    /// wrong with them.
    async fn notes(&self) -> Result<Vec<Skipped>>;
}

/// An item of any kind.
pub(crate) struct AnyItem {
    /// The item as the API answers it.
    pub(crate) json: Box<RawValue>,
    /// The id.
    pub(crate) id: String,
    /// The slug; empty if it has none.
    pub(crate) slug: String,
    /// The id of its section.
    pub(crate) section: Option<String>,
    /// The id of the user that it belongs to.
    pub(crate) user_id: Option<String>,
    /// The path, or `None` if no path leads the public to it.
    pub(crate) path: Option<String>,
    /// The state of the users, one of whom is its author.
    pub(crate) revision: Revision,
}

/// An item of any kind, as it is named beside another one.
pub(crate) struct ListedItem {
    pub(crate) id: String,
    pub(crate) title: String,
    /// The slug; empty if it has none.
    pub(crate) slug: String,
    /// The path, or `None` if no path leads the public to it.
    pub(crate) path: Option<String>,
}

/// A page of a list of any kind.
pub(crate) struct AnyList {
    /// The page as the API answers it.
    pub(crate) json: Box<RawValue>,
    /// The state of the total.
    pub(crate) revision: Revision,
}

/// The newest items of a section, of any kind.
pub(crate) struct Newest {
    /// The items as the API answers them.
    pub(crate) items: Vec<Value>,
    /// The state of the list.
    pub(crate) revision: Revision,
}

/// The collections of all kinds of content.
#[derive(Clone)]
pub(crate) struct Collections(Arc<[Arc<dyn ContentCollection>]>);

impl Collections {
    /// Opens the collections, with the limits of the revisions of their items.
    pub(crate) fn open(
        connection: &Connection,
        changes: &Changes,
        revisions: settings::Revisions,
    ) -> Self {
        Self(KINDS.iter().map(|kind| kind.open(connection, changes, revisions)).collect())
    }

    /// Opens the collections for a process that serves no requests.
    pub(crate) fn open_alone(connection: &Connection) -> Self {
        let changes = Changes::unheard(Source::Content, connection);
        Self::open(connection, &changes, settings::Revisions::default())
    }

    /// Returns the collections in the order of the kinds.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn ContentCollection>> {
        self.0.iter()
    }

    /// Returns the collection of a content type.
    pub(crate) fn of(&self, content_type: ContentType) -> &dyn ContentCollection {
        let collection = self.iter().find(|one| one.kind().content_type() == content_type);
        #[expect(clippy::expect_used, reason = "a test compares the kinds with the content types")]
        let collection = collection.expect("each content type has its kind");
        &**collection
    }

    /// Returns the collection with the content of a section, or `None` for a link.
    pub(crate) fn of_section(&self, section: &Section) -> Option<&dyn ContentCollection> {
        section.content_type.content().map(|content_type| self.of(content_type))
    }
}

/// Returns the changes of all kinds, and of the site as a whole.
pub(crate) fn changes(connection: &Connection) -> Changes {
    let others = [authors::family(), redirects::family(), search::family(), site::family()];
    let families = KINDS.iter().map(|kind| kind.family()).chain(others).collect();
    Changes::new(Source::Content, families, connection)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    pub(crate) use super::{page::Page, story::Story};

    #[test]
    fn each_content_type_has_its_kind() {
        assert_eq!(KINDS.map(ContentKind::content_type), ContentType::ALL);
    }
}
