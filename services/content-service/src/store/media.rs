//! The places that show uploaded files.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use models::{
    ContentType, SectionEntry,
    media::{MediaPlace, MediaUses, PlaceType, SMALLER_WIDTHS, SitePart, UPLOADS, with_width},
};
use mongo_kit::lenient::{FieldReader, stored_id_text};
use mongodb::{
    Database,
    bson::{Document, RawDocument, RawDocumentBuf, doc},
    error::Result,
};
use percent_encoding::percent_decode_str;

use super::{
    content::ContentStore,
    item_drafts::{self, DraftStore},
    kind::Kind,
};
use crate::domain::site::Site;

/// The fields in which items have addresses of files.
const FIELDS: [&str; 3] = ["content", "image_url", "social_image"];

/// The longest title in an answer, in characters. Those of existing sites can be longer.
const MAX_TITLE: usize = 200;

impl<K: Kind> ContentStore<K> {
    /// Adds the items that show these files, at most `limit` for each file. Items in the trash count,
    /// since they can be restored, and drafts as the items that they are of. All items are read: nothing
    /// is indexed by the addresses in its text.
    pub(crate) async fn places_of(
        &self,
        names: &[String],
        limit: usize,
        uses: &mut MediaUses,
    ) -> Result<()> {
        let pattern = pattern(names);
        let mut fields = doc! { "title": 1, "deleted": 1 };
        FIELDS.iter().for_each(|field| drop(fields.insert(*field, 1)));
        let mut found = self.collection.find(any_field(ITEM, &pattern)).projection(fields).await?;
        while let Some(document) = found.try_next().await? {
            add_place(uses, names, limit, &texts(&document), || place::<K>(&document));
        }
        let mut found = self.drafts.matching(K::TYPE, any_field(DRAFT, &pattern)).await?;
        while let Some(document) = found.try_next().await? {
            let Some((id, draft)) = item_drafts::parts(&document) else { continue };
            let item = self.find_by_id(id, None).await?;
            let Some(place) = item.and_then(|item| place::<K>(&item)) else { continue };
            add_place(uses, names, limit, &texts(draft), || Some(place.clone()));
        }
        Ok(())
    }
}

/// Adds the sections that show these files, at most up to `limit` places of each file. Those in the trash
/// count.
pub(crate) fn sections_that_show(
    sections: &[SectionEntry],
    names: &[String],
    limit: usize,
    uses: &mut MediaUses,
) {
    for SectionEntry { section, is_deleted, .. } in sections {
        let texts: Vec<_> = section.page.social_image.iter().map(String::as_str).collect();
        add_place(uses, names, limit, &texts, || {
            Some(MediaPlace {
                content_type: PlaceType::Part(SitePart::Section),
                id: section.id.to_string(),
                title: section.title.chars().take(MAX_TITLE).collect(),
                deleted: *is_deleted,
            })
        });
    }
}

/// Adds the site, if its logo is one of these files.
pub(crate) fn site_that_shows(site: &Site, names: &[String], limit: usize, uses: &mut MediaUses) {
    let logo: Vec<_> = site.logo.iter().map(String::as_str).collect();
    add_place(uses, names, limit, &logo, || {
        Some(MediaPlace {
            content_type: PlaceType::Part(SitePart::Site),
            id: "site".to_owned(),
            title: site.title.clone().unwrap_or_default(),
            deleted: false,
        })
    });
}

/// Adds a place to the files that one of its texts shows.
fn add_place(
    uses: &mut MediaUses,
    names: &[String],
    limit: usize,
    texts: &[&str],
    place: impl Fn() -> Option<MediaPlace>,
) {
    for name in names.iter().filter(|name| shows(texts, name)) {
        let places = uses.entry(name.clone()).or_default();
        if places.len() < limit {
            // The text of an item and its draft are one place.
            places.extend(place().filter(|place| !places.contains(place)));
        }
    }
}

/// The place of the fields in the document of an item, and in that of a draft.
const ITEM: &str = "";
const DRAFT: &str = "body.";

/// Matches documents that have the pattern in one of the fields, which are at a place.
fn any_field(place: &str, pattern: &str) -> Document {
    let any = FIELDS.map(|field| doc! { format!("{place}{field}"): { "$regex": pattern } });
    doc! { "$or": any.to_vec() }
}

/// Returns the regular expression of the addresses of these files, in all their widths. Names have
/// letters, digits and `/ . _ -`.
fn pattern(names: &[String]) -> String {
    let widths = SMALLER_WIDTHS.map(|width| width.to_string()).join("|");
    let names = names.iter().map(|name| {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        format!("{}(?:_(?:{widths}))?\\.{extension}", stem.replace('.', "\\."))
    });
    format!("{UPLOADS}(?:{})", names.collect::<Vec<_>>().join("|"))
}

/// Returns the names of the files below `/uploads/` to which items of any kind and their drafts refer,
/// those that are not published or in the trash included, as they stand in the addresses. Addresses of other hosts are not among them.
pub async fn referenced_files(database: &Database) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut add = |document: &RawDocument| {
        for text in FIELDS.iter().filter_map(|field| document.get_str(field).ok()) {
            names.extend(references(text));
        }
    };
    let fields: Document = FIELDS.iter().map(|field| ((*field).to_owned(), 1.into())).collect();
    for kind in ContentType::ALL {
        let items = database.collection::<RawDocumentBuf>(kind.collection());
        let found = items.find(any_field(ITEM, UPLOADS)).projection(fields.clone());
        let mut found = found.await?;
        while let Some(document) = found.try_next().await? {
            add(&document);
        }
        let mut found = DraftStore::new(database).matching(kind, any_field(DRAFT, UPLOADS)).await?;
        while let Some(document) = found.try_next().await? {
            if let Some((_, draft)) = item_drafts::parts(&document) {
                add(draft);
            }
        }
    }
    Ok(names)
}

/// Returns the names of the files to which a text refers.
fn references(text: &str) -> impl Iterator<Item = String> + '_ {
    text.match_indices(UPLOADS).filter_map(|(place, _)| {
        // After other characters, it is a part of another address.
        let before = text[..place].chars().next_back();
        if before.is_some_and(|before| !before.is_whitespace() && !"\"'(,=;>`".contains(before)) {
            return None;
        }
        let rest = &text[place + UPLOADS.len()..];
        let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'()<>,?#&;\\`".contains(c);
        let name = rest.split(ends).next().unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8().ok()?;
        // The end of a sentence.
        let name = name.trim_end_matches(['.', ':', '!', '/']);
        (!name.is_empty()).then(|| name.to_owned())
    })
}

/// Returns the texts of a document that can have addresses of files.
fn texts(document: &RawDocument) -> Vec<&str> {
    FIELDS.iter().filter_map(|field| document.get_str(field).ok()).collect()
}

fn shows(texts: &[&str], name: &str) -> bool {
    let smaller = SMALLER_WIDTHS.map(|width| with_width(name, width));
    let addresses: Vec<_> = smaller.iter().map(String::as_str).chain([name]).collect();
    let addresses: Vec<_> =
        addresses.into_iter().map(|address| format!("{UPLOADS}{address}")).collect();
    texts.iter().any(|text| addresses.iter().any(|address| text.contains(address)))
}

fn place<K: Kind>(document: &RawDocumentBuf) -> Option<MediaPlace> {
    let mut reader = FieldReader::new(document);
    let title = reader.text("title").unwrap_or_default();
    Some(MediaPlace {
        content_type: PlaceType::Item(K::TYPE),
        id: stored_id_text(document.get("_id").ok()??).ok()?,
        title: title.chars().take(MAX_TITLE).collect(),
        deleted: reader.flag("deleted").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_has_all_widths_of_all_files_and_nothing_that_a_name_means() {
        let names = ["a.b.webp", "c/d.mp4"].map(str::to_owned);
        let expected = r"/uploads/(?:a\.b(?:_(?:750|500))?\.webp|c/d(?:_(?:750|500))?\.mp4)";
        assert_eq!(pattern(&names), expected);
    }

    #[test]
    fn references_are_addresses_of_this_site() {
        let text = r#"/uploads/first.png <img src="/uploads/a.webp" srcset='/uploads/a.webp 1200w,
            /uploads/a_750.webp 750w,/uploads/b%20c.png 2x'> url(/uploads/2024/12/d.jpg)
            <source src=/uploads/e.mp4?t=1#t=2> See /uploads/f.gif. &quot;/uploads/g.webp&quot;
            https://old.example.com/uploads/no.png /wp-content/uploads/no.png /uploads/"#;
        let found: Vec<_> = references(text).collect();
        let expected = [
            "first.png",
            "a.webp",
            "a.webp",
            "a_750.webp",
            "b c.png",
            "2024/12/d.jpg",
            "e.mp4",
            "f.gif",
            "g.webp",
        ];
        assert_eq!(found, expected);
    }
}
