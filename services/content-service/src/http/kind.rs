//! The kinds of content for the code that treats all kinds alike.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use actix_web::web::{Data, ServiceConfig};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use data_service::{
    Abort,
    changes::{Changes, Family, Read},
    report::Unreachable,
};
use futures_util::{FutureExt, future::LocalBoxFuture, stream::BoxStream};
use migrations::{Migration, Skipped};
use models::{
    ContentCounts, ContentType, IntegrityFinding, ObjectId, PageMeta, PlacedItem, Sort,
    body::add_read_only_members, media::MediaUses,
};
use mongo_kit::{Connection, lease::Lease};
use mongodb::{
    bson::Bson,
    error::{Error, Result},
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use service_kit::{
    runtime::settings,
    web::{conditional::IfMatch, error::ApiError},
};
use utoipa::openapi::{OpenApi, tag::TagBuilder};

use super::{
    errors::not_written,
    item_drafts::drafted,
    kind_routes::endpoints,
    list::into_list,
    preview,
    resolution::{self, capitalised},
    trash,
};
use crate::{
    domain::{
        audience::{Audience, Directory},
        content::{ContentMeta, MovedContent},
        item_paths::{ItemPaths, ShownItems},
        list::{Filter, Limit, Offset},
        pagination::Start,
        trash::TrashStart,
    },
    kinds::{AnyItem, AnyList, ContentCollection, ContentKind, ListedItem, Newest, Of},
    store::{
        content::{Changed, ContentStore},
        indexes,
        item_tags::TagCounts,
        keys::{self, ContentKeys},
        kind::Kind,
        list::{Form, PageRequest},
        moves::MoveError,
        search::Hit,
        sitemap::{Addressed, PartStart},
        states::ItemState,
        trash::Trashed,
        write::SlugGuard,
    },
};

impl<K: Kind> ContentKind for Of<K> {
    fn content_type(&self) -> ContentType {
        K::TYPE
    }

    fn name(&self) -> &'static str {
        K::NAME
    }

    fn describe(&self, document: &mut OpenApi) {
        let tag = TagBuilder::new().name(K::TYPE.collection());
        let tag = tag.description(Some(format!("{}.", capitalised(K::TYPE.collection()))));
        document.tags.get_or_insert_default().push(tag.build());
        for endpoint in endpoints::<K>() {
            endpoint.describe(document);
        }
        add_read_only_members::<K::Replace>(document);
        add_read_only_members::<K::Patch>(document);
        resolution::describe::<K>(document);
        preview::describe::<K>(document);
    }

    fn index_migration(&self) -> Option<Arc<dyn Migration>> {
        K::INDEX_MIGRATION.map(indexes::of_kind::<K>)
    }

    fn keys(&self) -> ContentKeys {
        ContentKeys::of::<K>()
    }

    fn family(&self) -> Family {
        keys::family::<K>()
    }

    fn open(
        &self,
        connection: &Connection,
        changes: &Changes,
        revisions: settings::Revisions,
    ) -> Arc<dyn ContentCollection> {
        Arc::new(ContentStore::<K>::new(connection, changes, revisions))
    }
}

#[async_trait]
impl<K: Kind> ContentCollection for ContentStore<K> {
    fn kind(&self) -> &'static dyn ContentKind {
        &Of::<K>::KIND
    }

    fn configure(self: Arc<Self>, config: &mut ServiceConfig) {
        config.app_data(Data::from(self));
        for endpoint in endpoints::<K>() {
            config.service(endpoint.into_resource());
        }
    }

    async fn odd_references(&self) -> Result<Read<Arc<[String]>>> {
        self.odd_references().await
    }

    async fn page(&self, filter: &Filter, request: PageRequest<'_>) -> Result<AnyList> {
        let page = self.list(filter, request, &Form::usual()).await?;
        let revision = page.revision;
        let (list, _memory) = into_list(page, request);
        Ok(AnyList { json: raw(&list)?, revision })
    }

    async fn neighbours(
        &self,
        filter: &Filter,
        sort: Sort,
        id: &str,
        paths: &ItemPaths,
    ) -> Result<Read<[Vec<ListedItem>; 2]>> {
        let Read { value, revision } = self.neighbours(filter, sort, id, paths).await?;
        let listed = |item: K| ListedItem {
            id: item.meta().id.to_string(),
            title: item.meta().title.clone(),
            slug: item.slug().to_owned(),
            path: item.meta().path.clone(),
        };
        let value = value.map(|items| items.into_iter().map(listed).collect());
        Ok(Read { value, revision })
    }

    async fn shown_items(&self, sections: Vec<ObjectId>) -> Result<Read<Arc<ShownItems>>> {
        self.shown_items(sections).await
    }

    fn now(&self) -> DateTime<Utc> {
        self.now()
    }

    async fn by_id(&self, id: &str, paths: &ItemPaths) -> Result<Option<AnyItem>> {
        let item = self.by_id(id).await?.ok();
        any_item(self, item, paths).await
    }

    async fn drafted(&self, id: &str, paths: &ItemPaths) -> Result<Option<AnyItem>> {
        let Some(mut item) = ContentCollection::by_id(self, id, paths).await? else {
            return Ok(None);
        };
        if let Some(draft) = self.draft(&item.id).await? {
            let current = serde_json::from_str(item.json.get()).map_err(Error::custom)?;
            item.json = raw(&drafted(current, &draft))?;
        }
        Ok(Some(item))
    }

    async fn tag_counts(&self, audience: &Audience) -> Result<Read<Arc<TagCounts>>> {
        self.tag_counts(audience).await
    }

    async fn first_in(
        &self,
        section: ObjectId,
        audience: &Audience,
        paths: &ItemPaths,
    ) -> Result<Option<AnyItem>> {
        let item = self.first_in(section, audience).await?;
        any_item(self, item, paths).await
    }

    async fn by_slug(
        &self,
        section: Option<ObjectId>,
        slugs: &[String],
        audience: &Audience,
        paths: &ItemPaths,
    ) -> Result<Option<AnyItem>> {
        let item = self.by_slug(section, slugs, audience).await?;
        any_item(self, item, paths).await
    }

    async fn by_former_slug(
        &self,
        slugs: &[String],
        audience: &Audience,
        paths: &ItemPaths,
    ) -> Result<Option<AnyItem>> {
        let item = self.by_former_slug(slugs, audience).await?;
        any_item(self, item, paths).await
    }

    async fn visible(
        &self,
        id: &str,
        audience: &Audience,
        paths: &ItemPaths,
    ) -> Result<Option<AnyItem>> {
        let item = self.visible(id, audience).await?;
        any_item(self, item, paths).await
    }

    async fn hidden_by(&self, section: ObjectId, slug: &str) -> Result<Option<PlacedItem>> {
        let item = self.hidden_by(section, slug).await?;
        Ok(item.map(|item| PlacedItem {
            kind: K::NAME.to_owned(),
            title: item.meta().title.clone(),
            slug: item.slug().to_owned(),
        }))
    }

    async fn count_in(&self, sections: &[ObjectId], counts: &mut ContentCounts) -> Result<()> {
        self.count_in(sections, counts).await
    }

    async fn places_of(&self, names: &[String], limit: usize, uses: &mut MediaUses) -> Result<()> {
        self.places_of(names, limit, uses).await
    }

    fn move_to<'a>(
        &'a self,
        content: &'a MovedContent,
        section: ObjectId,
        may: &'a (dyn Fn(Option<&str>) -> std::result::Result<(), ApiError> + Sync),
        guard: SlugGuard<'a>,
        user_id: Option<&'a str>,
    ) -> LocalBoxFuture<'a, std::result::Result<Changed<u64>, Abort<MoveError>>> {
        self.move_to(content, section, may, guard, user_id).boxed_local()
    }

    async fn check_integrity(
        &self,
        sections: &Directory,
        users: &HashSet<String>,
    ) -> Result<Vec<IntegrityFinding>> {
        self.check_integrity(sections, users).await
    }

    async fn unreachable(&self, sections: &Directory) -> Result<Unreachable> {
        self.unreachable(sections).await
    }

    async fn states(&self, ids: &[&str], at: Option<u64>) -> Result<HashMap<String, ItemState>> {
        self.states(ids, at).await
    }

    async fn address_parts(&self, sections: &[ObjectId]) -> Result<Vec<PartStart>> {
        self.address_parts(sections).await
    }

    async fn addressed(
        &self,
        sections: &[ObjectId],
        start: &PartStart,
    ) -> Result<BoxStream<'static, Result<Addressed>>> {
        self.addressed(sections, start).await
    }

    async fn page_metas(&self, ids: &[&str]) -> Result<HashMap<String, PageMeta>> {
        self.page_metas(ids).await
    }

    async fn newest(
        &self,
        section: ObjectId,
        audience: &Audience,
        limit: Limit,
        paths: &ItemPaths,
    ) -> Result<Newest> {
        let filter = Filter::new(Some(section), audience.clone());
        let start = Start::Offset(Offset::default());
        let wanted = PageRequest { sort: Sort::default(), start: &start, limit, paths };
        let page = self.list(&filter, wanted, &Form::whole()).await?;
        let items = page.items.iter().map(serde_json::to_value).collect::<serde_json::Result<_>>();
        Ok(Newest { items: items.map_err(Error::custom)?, revision: page.revision })
    }

    async fn hits(
        &self,
        ids: &[Bson],
        filter: &Filter,
        words: &[String],
    ) -> Result<Vec<Option<Hit>>> {
        self.hits(ids, filter, words).await
    }

    async fn fill_search(&self) -> Result<()> {
        self.fill_search().await
    }

    async fn trash(
        &self,
        start: &TrashStart,
        owner: Option<&str>,
        count: usize,
    ) -> Result<Vec<Trashed>> {
        self.trash(start, owner, count).await
    }

    async fn taken_slugs(&self, slugs: &[&str]) -> Result<HashSet<String>> {
        self.taken_slugs(slugs).await
    }

    fn purge<'a>(
        &'a self,
        id: &'a str,
        if_match: &'a IfMatch,
    ) -> LocalBoxFuture<'a, std::result::Result<Vec<String>, ApiError>> {
        let purge = async move {
            let guard = |item: &K| trash::require_trashed(item, if_match);
            let purged = self.purge(id, &guard).await.map_err(not_written::<K>)?;
            Ok(purged.keys)
        };
        purge.boxed_local()
    }

    async fn has_old_trash(&self, after: Duration) -> Result<bool> {
        self.has_old_trash(after).await
    }

    async fn empty_trash(&self, after: Duration, lease: &Lease) -> Result<u64> {
        self.empty_trash(after, lease).await
    }

    async fn notes(&self) -> Result<Vec<Skipped>> {
        self.notes().await
    }
}

async fn any_item<K: Kind>(
    store: &ContentStore<K>,
    item: Option<K>,
    paths: &ItemPaths,
) -> Result<Option<AnyItem>> {
    let Some(item) = item else { return Ok(None) };
    let Read { value: names, revision } = store.names().await?;
    let item = names.sign(item).at(paths);
    let (json, slug) = (raw(&item)?, item.slug().to_owned());
    let ContentMeta { id, section_id: section, user_id, path, .. } = item.meta().clone();
    Ok(Some(AnyItem { json, id: id.to_string(), slug, section, user_id, path, revision }))
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>> {
    to_raw_value(value).map_err(Error::custom)
}
