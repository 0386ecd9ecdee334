//! Finding one item.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use models::ObjectId;
use mongo_kit::{
    document::readable,
    lenient::{self, FieldReader},
};
use mongodb::{
    ClientSession,
    bson::{Document, RawDocumentBuf, doc},
};

use super::{
    content::ContentStore,
    filters::{Oddities, public, within},
    ids::{ById, NoItem, no_item},
    kind::{Kind, Reading},
};
use crate::domain::audience::Hidden;

impl<K: Kind> ContentStore<K> {
    /// Returns the public item that is looked up by the first of these texts that any has: its
    /// slug, or the type of a page. The newest is returned where several have a slug, and the oldest
    /// page of a type.
    pub(crate) async fn by_address(
        &self,
        addresses: &[String],
        hidden: &Hidden,
    ) -> mongodb::error::Result<Option<K>> {
        self.find_by_address(public::<K>(hidden, Oddities::ANY), addresses).await
    }

    /// Returns the same among the items of a section.
    pub(crate) async fn by_address_in(
        &self,
        section: ObjectId,
        slugs: &[String],
        hidden: &Hidden,
    ) -> mongodb::error::Result<Option<K>> {
        self.find_by_address(within(public::<K>(hidden, Oddities::ANY), &[section]), slugs).await
    }

    async fn find_by_address(
        &self,
        filter: Document,
        addresses: &[String],
    ) -> mongodb::error::Result<Option<K>> {
        let Some((address, others)) = addresses.split_first() else { return Ok(None) };
        let exact = self.find_public(filter.clone(), Some(address)).await?;
        if exact.is_some() || others.is_empty() {
            return Ok(exact);
        }
        let candidates: Vec<_> =
            others.iter().flat_map(|other| lenient::text_candidates(other)).collect();
        let mut of_others = filter.clone();
        of_others.insert(K::ADDRESS.field(), doc! { "$in": candidates });
        let address_alone = doc! { K::ADDRESS.field(): 1, "_id": 0 };
        let mut documents = self.collection.find(of_others).projection(address_alone).await?;
        let mut places = BTreeSet::new();
        while let Some(document) = documents.try_next().await? {
            let address = FieldReader::new(&document).text(K::ADDRESS.field());
            places.extend(others.iter().position(|other| Some(other) == address.as_ref()));
        }
        for other in places.into_iter().filter_map(|place| others.get(place)) {
            let found = self.find_public(filter.clone(), Some(other)).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the public item of a section that shows one; the one that was there first.
    pub(crate) async fn first_in(
        &self,
        section: ObjectId,
        hidden: &Hidden,
    ) -> mongodb::error::Result<Option<K>> {
        self.find_public(within(public::<K>(hidden, Oddities::ANY), &[section]), None).await
    }

    /// Returns the item with this id, published or not, unless it is deleted.
    pub(crate) async fn by_id(&self, id: &str) -> mongodb::error::Result<Result<K, NoItem>> {
        let Some(document) = self.find_by_id(id, None).await? else { return Ok(Err(no_item(id))) };
        let item = readable(Reading::<K>::with_warnings(&document))
            .filter(|reading| !reading.item.meta().deleted);
        Ok(item.map(|reading| reading.item).ok_or(NoItem::NotFound))
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

    /// Returns the first public item that the filter matches and that is looked up by this text.
    async fn find_public(
        &self,
        mut filter: Document,
        address: Option<&str>,
    ) -> mongodb::error::Result<Option<K>> {
        if let Some(address) = address {
            filter.insert(K::ADDRESS.field(), doc! { "$in": lenient::text_candidates(address) });
        }
        let order = match address {
            Some(_) if K::ADDRESS.is_slug() => doc! { "createdDate": -1, "_id": -1 },
            _ => doc! { "_id": 1 },
        };
        // The query may match a little more than is meant: lists of values, numbers of other texts.
        let suits = |document: &RawDocumentBuf| {
            readable(Reading::<K>::with_warnings(document)).filter(|reading| {
                reading.is_public
                    && address.is_none_or(|one| reading.address.as_deref() == Some(one))
            })
        };
        let first = self.collection.find_one(filter.clone()).sort(order.clone()).await?;
        let Some(document) = first else { return Ok(None) };
        if let Some(reading) = suits(&document) {
            return Ok(Some(reading.item));
        }
        let mut others = self.collection.find(filter).sort(order).await?;
        while let Some(document) = others.try_next().await? {
            if let Some(reading) = suits(&document) {
                return Ok(Some(reading.item));
            }
        }
        Ok(None)
    }
}
