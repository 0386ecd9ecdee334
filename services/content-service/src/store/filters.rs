//! Filters of documents that several queries share.

use std::sync::Arc;

use futures_util::TryStreamExt;
use models::ObjectId;
use mongo_kit::lenient;
use mongodb::{
    Collection,
    bson::{Bson, Document, RawDocumentBuf, doc, oid},
};

use super::{
    drafts,
    kind::{Kind, SLUG, absent_values, published_values, stored_date},
};
use crate::domain::{
    audience::{Audience, Hidden, HiddenSections},
    list::{Filter, Period},
    tag::TAGS,
};

/// The field of items that the site shows first.
const FEATURED: &str = "is_featured";

/// The unusual shapes of documents that a query takes into account. That costs the use of an index,
/// and few collections have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Oddities {
    /// Flags or dates that are lists: MongoDB compares each of their values.
    pub(super) lists: bool,
    /// An `_id` of a type that has no text.
    pub(super) ids: bool,
}

impl Oddities {
    pub(crate) const ANY: Self = Self { lists: true, ids: true };
    pub(super) const NONE: Self = Self { lists: false, ids: false };
}

/// Matches the items that the public may see: published, not deleted, and not in a section that
/// hides them. The one place that decides it.
pub(super) fn public<K: Kind>(hidden: &Hidden, oddities: Oddities) -> Document {
    let mut not_deleted = lenient::flag_values(false);
    not_deleted.extend(absent_values());
    let mut filter = doc! {
        "is_published": { "$in": published_values::<K>() },
        "deleted": { "$in": not_deleted },
    };
    match hidden {
        Hidden::Of(sections) if sections.ids.is_empty() => {}
        Hidden::Of(sections) => {
            filter.insert("section_id", doc! { "$nin": references_to_hidden(sections) });
        }
        Hidden::AllOfSections => {
            filter.insert("section_id", doc! { "$eq": null });
        }
    }
    let mut none_of = Vec::new();
    if K::PUBLISHED_BY_DEFAULT {
        none_of.push(drafts_without_flag());
    }
    if oddities.lists {
        none_of.push(doc! { "is_published": { "$type": "array" } });
        none_of.push(doc! { "deleted": { "$type": "array" } });
    }
    if oddities.ids {
        none_of.push(lenient::unreadable_ids());
    }
    if !none_of.is_empty() {
        filter.insert("$nor", none_of);
    }
    filter
}

/// Matches drafts without `is_published`, which other fields show to be drafts.
fn drafts_without_flag() -> Document {
    let mut filter = drafts::is_draft();
    filter.insert("is_published", doc! { "$in": absent_values().to_vec() });
    filter
}

/// Matches the public items without `is_published`.
pub(crate) fn public_by_default<K: Kind>() -> Document {
    let mut filter = public::<K>(&Hidden::nothing(), Oddities::ANY);
    filter.insert("is_published", doc! { "$in": absent_values().to_vec() });
    filter
}

/// Matches the items without a slug that editors see.
pub(crate) fn without_slug() -> Document {
    let mut filter = not_deleted(Oddities::ANY);
    filter.insert("slug", doc! { "$in": [null, ""] });
    filter
}

/// Matches the items that editors see: those that are not plainly deleted.
pub(crate) fn not_deleted(oddities: Oddities) -> Document {
    let not_deleted = doc! { "deleted": { "$nin": lenient::flag_values(true) } };
    let mut filter = if oddities.lists {
        doc! { "$or": [not_deleted, { "deleted": { "$type": "array" } }] }
    } else {
        not_deleted
    };
    if oddities.ids {
        filter.insert("$nor", [lenient::unreadable_ids()]);
    }
    filter
}

/// Restricts a filter to some sections, in addition to its other conditions on sections.
pub(super) fn within(mut filter: Document, sections: &[ObjectId]) -> Document {
    let mut of_section = filter.get_document("section_id").cloned().unwrap_or_default();
    of_section.insert("$in", references(sections));
    filter.insert("section_id", of_section);
    filter
}

/// Returns the forms in which content refers to these sections: as text, as text with digits in upper
/// case, and as `ObjectId`s. Other programs write the two latter.
pub(crate) fn references(ids: &[ObjectId]) -> Vec<Bson> {
    let forms = |id: &ObjectId| {
        let text = id.to_string();
        let stored = oid::ObjectId::from_bytes(id.bytes());
        [text.to_uppercase().into(), text.into(), stored.into()]
    };
    ids.iter().flat_map(forms).collect()
}

/// Finds the values of `section_id` that contain the digits of an id and are not one of its
/// [forms](references).
pub(super) async fn odd_references(
    collection: Collection<RawDocumentBuf>,
) -> mongodb::error::Result<Arc<[String]>> {
    // Sorted, so that the server reads each value once from the index of sections.
    let values = [
        doc! { "$match": { "section_id": { "$type": "string" } } },
        doc! { "$sort": { "section_id": 1 } },
        doc! { "$group": { "_id": "$section_id" } },
    ];
    let mut values = collection.aggregate(values).await?;
    let mut found = Vec::new();
    while let Some(value) = values.try_next().await? {
        found.extend(
            value.get_str("_id").ok().filter(|value| is_odd_reference(value)).map(str::to_owned),
        );
    }
    // The same values are the same audience.
    found.sort_unstable();
    Ok(found.into())
}

/// Returns `true` if a text contains the digits of an id and is not one of its [forms](references).
fn is_odd_reference(text: &str) -> bool {
    const ID_LENGTH: usize = 24;
    let is_plain = text.len() == ID_LENGTH
        && (text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            || text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')));
    let mut runs = text.split(|character: char| !character.is_ascii_hexdigit());
    !is_plain && runs.any(|digits| digits.len() >= ID_LENGTH)
}

/// Returns the values of `section_id` of content that these sections hide.
pub(super) fn references_to_hidden(sections: &HiddenSections) -> Vec<Bson> {
    let spellings = sections.spellings.iter().map(|spelling| spelling.as_str().into());
    references(&sections.ids).into_iter().chain(spellings).collect()
}

/// Matches the items that are not deleted and may have one of these slugs.
pub(super) fn having_slug(slugs: &[&str]) -> Document {
    let values: Vec<_> = slugs.iter().flat_map(|slug| lenient::text_candidates(slug)).collect();
    let mut query = not_deleted(Oddities::ANY);
    query.insert(SLUG, doc! { "$in": values });
    query
}

/// Matches the items that an audience sees.
pub(super) fn visible<K: Kind>(audience: &Audience, oddities: Oddities) -> Document {
    match audience {
        Audience::Public(hidden) => public::<K>(hidden, oddities),
        Audience::Editors => not_deleted(oddities),
    }
}

/// Matches the items of a list.
pub(super) fn listed<K: Kind>(filter: &Filter, oddities: Oddities) -> Document {
    let query = narrowed(visible::<K>(&filter.audience, oddities), filter);
    match filter.section {
        Some(section) => within(query, &[section]),
        None => query,
    }
}

/// Restricts a query to the items that a filter selects apart from its audience and its section.
///
/// Of items whose `createdDate` is of another type, none is in a period: lists add them
/// ([`odd_values`](super::survey::odd_values)).
pub(super) fn narrowed(mut query: Document, filter: &Filter) -> Document {
    let Period { from, until } = filter.created;
    let mut created = Document::new();
    for (operator, moment) in [("$gte", from), ("$lt", until)] {
        created.extend(moment.map(|moment| (operator.to_owned(), stored_date(moment).into())));
    }
    if !created.is_empty() {
        query.insert("createdDate", created);
    }
    if let Some(texts) = &filter.tag {
        let values: Vec<_> = texts.iter().flat_map(|text| lenient::text_candidates(text)).collect();
        query.insert(TAGS, doc! { "$in": values });
    }
    // A list of flags is no plain one, and read as if it were absent.
    let featured = doc! { "$in": lenient::flag_values(true), "$not": { "$type": "array" } };
    match filter.is_featured {
        Some(true) => drop(query.insert(FEATURED, featured)),
        Some(false) => {
            let mut none_of = query.get_array("$nor").cloned().unwrap_or_default();
            none_of.push(doc! { FEATURED: featured }.into());
            query.insert("$nor", none_of);
        }
        None => {}
    }
    query
}
