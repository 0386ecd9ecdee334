//! The items that have an address of their own, in parts, for sitemaps.
//!
//! The order is that of `_id`, so that a part begins at an item and costs the same wherever it is.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use data_service::page_meta;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use models::{ObjectId, PageMeta};
use mongo_kit::lenient::{FieldReader, id_candidates, stored_id_text};
use mongodb::{
    bson::{Bson, Document, RawDocument, RawDocumentBuf, doc},
    error::Result,
    options::Hint,
};

use super::{
    content::ContentStore,
    filters::{Oddities, public, within},
    kind::Kind,
};
use crate::domain::{
    audience::Hidden,
    pagination::{id_from_text, id_to_text, plain},
};

/// The most addresses of a sitemap (sitemaps.org, "Sitemap index files").
pub(crate) const MAX_ADDRESSES: usize = 50_000;

/// The number of documents that the server sends at once.
const BATCH_SIZE: u32 = 1_000;

/// An item with an address of its own.
pub(crate) struct Addressed {
    pub(crate) id: String,
    pub(crate) slug: String,
    /// The id of its section.
    pub(crate) section: String,
    /// The date of its last change.
    pub(crate) changed: Option<DateTime<Utc>>,
    pub(crate) page: PageMeta,
}

/// The first item of a part of a sitemap, or `None` for the very first item.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PartStart(Option<Bson>);

impl PartStart {
    pub(crate) const FIRST: Self = Self(None);

    /// Returns the start as a text for addresses; empty for the first one.
    pub(crate) fn to_text(&self) -> String {
        self.0.as_ref().and_then(id_to_text).unwrap_or_default()
    }

    /// Returns the start that a text stands for, or `None` if it stands for none.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::FIRST);
        }
        id_from_text(text).map(|id| Self(Some(id)))
    }
}

impl<K: Kind> ContentStore<K> {
    /// Returns the starts of the parts of the items of these sections that have an address: none if there
    /// are no items.
    pub(crate) async fn address_parts(&self, sections: &[ObjectId]) -> Result<Vec<PartStart>> {
        let mut starts = Vec::new();
        let mut next = PartStart::FIRST;
        loop {
            // The first item of the part after the one that begins at `next`.
            let skip = if starts.is_empty() { 0 } else { MAX_ADDRESSES as u64 };
            let found = self.find_addressed(sections, &next, doc! { "_id": 1 });
            let mut found = found.skip(skip).limit(1).await?;
            let Some(document) = found.try_next().await? else { return Ok(starts) };
            if !starts.is_empty() {
                let id = document.get("_id").ok().flatten().and_then(plain);
                // A part cannot begin at such an item: what follows belongs to no part.
                let Some(id) = id else { return Ok(starts) };
                next = PartStart(Some(id));
            }
            starts.push(next.clone());
        }
    }

    /// Returns the items of a part.
    pub(crate) async fn addressed(
        &self,
        sections: &[ObjectId],
        start: &PartStart,
    ) -> Result<BoxStream<'static, Result<Addressed>>> {
        let fields = ["slug", "section_id", "createdDate", "updatedDate"];
        let fields = fields.into_iter().chain(page_meta::FIELDS);
        let fields = fields.map(|field| (field.to_owned(), 1.into())).collect();
        let limit = i64::try_from(MAX_ADDRESSES).unwrap_or(i64::MAX);
        let found = self.find_addressed(sections, start, fields);
        let found = found.limit(limit).batch_size(BATCH_SIZE).await?;
        Ok(found.try_filter_map(async |document| Ok(addressed(&document))).boxed())
    }

    /// Returns the facts for search engines of the items with these ids.
    pub(crate) async fn page_metas(&self, ids: &[&str]) -> Result<HashMap<String, PageMeta>> {
        let ids: Vec<_> = ids.iter().flat_map(|id| id_candidates(id)).collect();
        let fields = page_meta::FIELDS.map(|field| (field.to_owned(), Bson::from(1)));
        let found = self.collection.find(doc! { "_id": { "$in": ids } });
        let found = found.projection(Document::from_iter(fields)).await?;
        let metas = found.try_filter_map(async |document| {
            let mut reader = FieldReader::new(&document);
            let id = reader.value("_id").and_then(|id| stored_id_text(id).ok());
            Ok(id.map(|id| (id, page_meta::read(&mut reader))))
        });
        metas.try_collect().await
    }

    fn find_addressed(
        &self,
        sections: &[ObjectId],
        PartStart(start): &PartStart,
        fields: Document,
    ) -> mongodb::action::Find<'_, RawDocumentBuf> {
        let mut filter = within(public::<K>(&Hidden::nothing(), Oddities::ANY), sections);
        filter.insert("slug", doc! { "$nin": [null, ""] });
        let found = self.collection.find(filter).projection(fields).sort(doc! { "_id": 1 });
        let found = found.hint(Hint::Keys(doc! { "_id": 1 }));
        match start {
            Some(id) => found.min(doc! { "_id": id.clone() }),
            None => found,
        }
    }
}

fn addressed(document: &RawDocument) -> Option<Addressed> {
    let mut reader = FieldReader::new(document);
    Some(Addressed {
        id: reader.value("_id").and_then(|id| stored_id_text(id).ok())?,
        slug: reader.text("slug")?,
        section: reader.reference("section_id")?,
        changed: reader.date("updatedDate").or_else(|| reader.date("createdDate")),
        page: page_meta::read(&mut reader),
    })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid;

    use super::*;

    #[test]
    fn a_part_is_found_by_the_text_that_stands_for_it() {
        for id in [Bson::ObjectId(oid::ObjectId::new()), "a text".into(), 7.into()] {
            let start = PartStart(Some(id));
            assert_eq!(PartStart::from_text(&start.to_text()), Some(start));
        }
        assert_eq!(PartStart::from_text(""), Some(PartStart::FIRST));
        for wrong in ["1", "e30", "*", &PartStart(Some(vec![Bson::Null].into())).to_text()] {
            assert_eq!(PartStart::from_text(wrong), None, "{wrong}");
        }
    }
}
