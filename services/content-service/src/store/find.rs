//! Finding one item.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use data_service::changes::{Cached, Read};
use futures_util::TryStreamExt;
use models::ObjectId;
use mongo_kit::{
    document::readable,
    lenient::{self, FieldReader},
};
use mongodb::{
    ClientSession, Collection,
    bson::{Document, RawDocumentBuf, doc},
};

use super::{
    content::ContentStore,
    filters::{Oddities, not_deleted, visible, within},
    ids::{ById, NoItem, no_item},
    keys::ContentKeys,
    kind::{Kind, LookUpField, Reading, SLUG},
};
use crate::domain::{
    audience::{Audience, Hidden},
    item_paths::ShownItems,
};

impl<K: Kind> ContentStore<K> {
    /// Returns the visible item that is looked up by the first of these texts that any has: its
    /// slug, or the type of a page. The newest is returned where several have a slug, and the oldest
    /// page of a type.
    pub(crate) async fn by_address(
        &self,
        addresses: &[String],
        audience: &Audience,
    ) -> mongodb::error::Result<Option<K>> {
        let filter = visible::<K>(audience, Oddities::ANY);
        self.find_by_text(audience, filter, LookUpField::Address, addresses).await
    }

    /// Returns the visible item that has the first of these slugs that any has, in a section or in any.
    pub(crate) async fn by_slug(
        &self,
        section: Option<ObjectId>,
        slugs: &[String],
        audience: &Audience,
    ) -> mongodb::error::Result<Option<K>> {
        let filter = visible::<K>(audience, Oddities::ANY);
        let filter = match section {
            Some(section) => within(filter, &[section]),
            None => filter,
        };
        self.find_by_text(audience, filter, LookUpField::Slug, slugs).await
    }

    /// Returns the visible item that had the first of these slugs that any had.
    pub(crate) async fn by_former_slug(
        &self,
        slugs: &[String],
        audience: &Audience,
    ) -> mongodb::error::Result<Option<K>> {
        for id in self.former_slugs.items(slugs).await? {
            let mut filter = visible::<K>(audience, Oddities::ANY);
            filter.insert("_id", id);
            let found = self.find_visible(audience, filter, None).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn find_by_text(
        &self,
        audience: &Audience,
        filter: Document,
        field: LookUpField,
        texts: &[String],
    ) -> mongodb::error::Result<Option<K>> {
        let Some((text, others)) = texts.split_first() else { return Ok(None) };
        let exact = self.find_visible(audience, filter.clone(), Some((field, text))).await?;
        if exact.is_some() || others.is_empty() {
            return Ok(exact);
        }
        let candidates: Vec<_> =
            others.iter().flat_map(|other| lenient::text_candidates(other)).collect();
        let mut of_others = filter.clone();
        let name = field.name::<K>();
        of_others.insert(name, doc! { "$in": candidates });
        let text_alone = doc! { name: 1, "_id": 0 };
        let mut documents = self.collection.find(of_others).projection(text_alone).await?;
        let mut places = BTreeSet::new();
        while let Some(document) = documents.try_next().await? {
            let text = FieldReader::new(&document).text(name);
            places.extend(others.iter().position(|other| Some(other) == text.as_ref()));
        }
        for other in places.into_iter().filter_map(|place| others.get(place)) {
            let found = self.find_visible(audience, filter.clone(), Some((field, other))).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the visible item of a section that shows one; the one that was there first.
    pub(crate) async fn first_in(
        &self,
        section: ObjectId,
        audience: &Audience,
    ) -> mongodb::error::Result<Option<K>> {
        self.find_visible(audience, within(visible::<K>(audience, Oddities::ANY), &[section]), None)
            .await
    }

    /// Returns an item, published or not, that a section with this slug below its own would hide: one
    /// with the same slug, or with one that begins with it as with a folder.
    pub(crate) async fn hidden_by(
        &self,
        section: ObjectId,
        slug: &str,
    ) -> mongodb::error::Result<Option<K>> {
        let slug: String = slug.trim_matches('/').chars().flat_map(escaped).collect();
        // Two expressions, so that the index of slugs serves each.
        let patterns =
            ["", "/+"].map(|start| doc! { SLUG: { "$regex": format!("^{start}{slug}(/|$)") } });
        let filter =
            doc! { "$and": [within(not_deleted(Oddities::ANY), &[section]), { "$or": patterns }] };
        let mut documents = self.collection.find(filter).await?;
        while let Some(document) = documents.try_next().await? {
            if let Some(reading) = readable(Reading::<K>::with_warnings(&document)) {
                return Ok(Some(reading.item));
            }
        }
        Ok(None)
    }

    /// Returns the items that these sections show, each as its whole content.
    pub(crate) async fn shown_items(
        &self,
        sections: Vec<ObjectId>,
    ) -> mongodb::error::Result<Read<Arc<ShownItems>>> {
        let cached = self.shown_items.get_with_by_ref(&sections, || {
            let keys = vec![ContentKeys::of::<K>().total(true)];
            Cached::new(&self.changes, keys, Duration::ZERO)
        });
        let collection = self.collection.clone();
        let read = async move {
            let mut shown = ShownItems::new();
            let audience = Audience::Public(Hidden::nothing());
            for section in sections {
                let filter = within(visible::<K>(&audience, Oddities::ANY), &[section]);
                let item = find_visible::<K>(&collection, &audience, filter, None).await?;
                shown.extend(item.map(|item| (section, item.meta().id.to_string())));
            }
            Ok(Arc::new(shown))
        };
        cached.get(read).await
    }

    /// Returns the item with this id, published or not, unless it is deleted.
    pub(crate) async fn by_id(&self, id: &str) -> mongodb::error::Result<Result<K, NoItem>> {
        let Some(document) = self.find_by_id(id, None).await? else { return Ok(Err(no_item(id))) };
        let item = readable(Reading::<K>::with_warnings(&document))
            .filter(|reading| !reading.item.meta().deleted);
        Ok(item.map(|reading| reading.item).ok_or(NoItem::NotFound))
    }

    /// Returns the item with this id, if the audience sees it.
    pub(crate) async fn visible(
        &self,
        id: &str,
        audience: &Audience,
    ) -> mongodb::error::Result<Option<K>> {
        let mut filter = visible::<K>(audience, Oddities::ANY);
        filter.insert("_id", doc! { "$in": lenient::id_candidates(id) });
        let found: Vec<RawDocumentBuf> = self.collection.find(filter).await?.try_collect().await?;
        let document = ById::new(found, RawDocumentBuf::as_ref).take(id);
        let reading = document.and_then(|one| readable(Reading::<K>::with_warnings(&one)));
        Ok(reading.filter(|reading| reading.is_visible(audience)).map(|reading| reading.item))
    }

    /// Returns the document that an id means, in the trash or not.
    pub(super) async fn find_by_id(
        &self,
        id: &str,
        session: Option<&mut ClientSession>,
    ) -> mongodb::error::Result<Option<RawDocumentBuf>> {
        let find = self.collection.find(doc! { "_id": { "$in": lenient::id_candidates(id) } });
        let found: Vec<RawDocumentBuf> = match session {
            Some(session) => {
                let mut cursor = find.session(&mut *session).await?;
                cursor.stream(session).try_collect().await?
            }
            None => find.await?.try_collect().await?,
        };
        Ok(ById::new(found, RawDocumentBuf::as_ref).take(id))
    }

    async fn find_visible(
        &self,
        audience: &Audience,
        filter: Document,
        text: Option<(LookUpField, &str)>,
    ) -> mongodb::error::Result<Option<K>> {
        find_visible(&self.collection, audience, filter, text).await
    }
}

/// Returns the first item that the filter matches, that the audience sees and that is found by this text
/// of a field.
async fn find_visible<K: Kind>(
    collection: &Collection<RawDocumentBuf>,
    audience: &Audience,
    mut filter: Document,
    text: Option<(LookUpField, &str)>,
) -> mongodb::error::Result<Option<K>> {
    if let Some((field, text)) = text {
        filter.insert(field.name::<K>(), doc! { "$in": lenient::text_candidates(text) });
    }
    let order = match text {
        Some((LookUpField::Slug, _)) => doc! { "createdDate": -1, "_id": -1 },
        Some(_) if K::ADDRESS.is_slug() => doc! { "createdDate": -1, "_id": -1 },
        _ => doc! { "_id": 1 },
    };
    // The query may match a little more than is meant: lists of values, numbers of other texts.
    let suits = |document: &RawDocumentBuf| {
        readable(Reading::<K>::with_warnings(document)).filter(|reading| {
            reading.is_visible(audience)
                && text.is_none_or(|(field, one)| reading.look_up_text(field) == Some(one))
        })
    };
    let first = collection.find_one(filter.clone()).sort(order.clone()).await?;
    let Some(document) = first else { return Ok(None) };
    if let Some(reading) = suits(&document) {
        return Ok(Some(reading.item));
    }
    let mut others = collection.find(filter).sort(order).await?;
    while let Some(document) = others.try_next().await? {
        if let Some(reading) = suits(&document) {
            return Ok(Some(reading.item));
        }
    }
    Ok(None)
}

/// Returns a character as it stands for itself in a regular expression.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let is_special = character.is_ascii_punctuation();
    is_special.then_some('\\').into_iter().chain([character])
}
