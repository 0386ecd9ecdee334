//! The slugs that items had before they got other ones.
//!
//! As with the paths of sections, a redirect leads to an item and not to its present slug: however often
//! an item is renamed, one step leads from each of its former slugs to it. A redirect gives way to an
//! item that gets its slug, which is decided under the lock of the slug ([`Locks`](super::slugs::Locks)).

use futures_util::TryStreamExt;
use mongodb::{
    ClientSession, Collection, Database,
    bson::{self, Bson, Document, doc},
    error::Result,
};

/// The collection of redirects: one for each slug that an item had.
pub(crate) const FORMER_SLUGS: &str = "content_former_slugs";

/// The former slugs of the items of a collection.
#[derive(Debug, Clone)]
pub(super) struct FormerSlugs {
    redirects: Collection<Document>,
    collection: &'static str,
}

impl FormerSlugs {
    pub(super) fn new(database: &Database, collection: &'static str) -> Self {
        Self { redirects: database.collection(FORMER_SLUGS), collection }
    }

    /// Returns the `_id`s of the items that had these slugs, in the order of the slugs.
    pub(super) async fn items(&self, slugs: &[String]) -> Result<Vec<Bson>> {
        let ids: Vec<_> = slugs.iter().map(|slug| self.id(slug)).collect();
        let found = self.redirects.find(doc! { "_id": { "$in": &ids } }).await?;
        let mut found: Vec<Document> = found.try_collect().await?;
        let place = |one: &Document| {
            let id = one.get_document("_id").ok();
            ids.iter().position(|other| Some(other) == id)
        };
        found.sort_by_key(place);
        Ok(found.into_iter().filter_map(|mut one| one.remove("item_id")).collect())
    }

    /// Makes a slug lead to the item that had it.
    pub(super) async fn add(
        &self,
        slug: &str,
        item: &Bson,
        now: bson::DateTime,
        session: &mut ClientSession,
    ) -> Result<()> {
        let redirect = doc! { "$set": { "item_id": item, "createdDate": now } };
        let one = self.redirects.update_one(doc! { "_id": self.id(slug) }, redirect).upsert(true);
        one.session(session).await.map(drop)
    }

    /// Removes the redirect of a slug that an item gets.
    pub(super) async fn remove(&self, slug: &str, session: &mut ClientSession) -> Result<()> {
        let redirect = doc! { "_id": self.id(slug) };
        self.redirects.delete_one(redirect).session(session).await.map(drop)
    }

    /// Removes the redirects that lead to these items.
    pub(super) async fn forget(&self, items: &[Bson], session: &mut ClientSession) -> Result<()> {
        let bound = |slug: Bson| doc! { "collection": self.collection, "slug": slug };
        let of_items = doc! {
            "_id": { "$gte": bound(Bson::MinKey), "$lte": bound(Bson::MaxKey) },
            "item_id": { "$in": items },
        };
        self.redirects.delete_many(of_items).session(session).await.map(drop)
    }

    fn id(&self, slug: &str) -> Document {
        doc! { "collection": self.collection, "slug": slug }
    }
}
