//! The items that show uploaded files.

use futures_util::TryStreamExt;
use models::media::{MediaPlace, MediaUses, SMALLER_WIDTHS, UPLOADS, with_width};
use mongo_kit::lenient::{FieldReader, stored_id_text};
use mongodb::{
    bson::{RawDocumentBuf, doc},
    error::Result,
};

use super::{content::ContentStore, kind::Kind};

/// The fields in which items have addresses of files.
const FIELDS: [&str; 3] = ["content", "image_url", "social_image"];

/// The longest title in an answer, in characters. Those of existing sites can be longer.
const MAX_TITLE: usize = 200;

impl<K: Kind> ContentStore<K> {
    /// Adds the items that show these files, at most `limit` for each file. Items in the trash count,
    /// since they can be restored. All items are read: nothing is indexed by the addresses in its text.
    pub(crate) async fn places_of(
        &self,
        names: &[String],
        limit: usize,
        uses: &mut MediaUses,
    ) -> Result<()> {
        let pattern = pattern(names);
        let any_field = FIELDS.map(|field| doc! { field: { "$regex": &pattern } });
        let mut fields = doc! { "title": 1, "deleted": 1 };
        FIELDS.iter().for_each(|field| drop(fields.insert(*field, 1)));
        let mut found =
            self.collection.find(doc! { "$or": any_field.to_vec() }).projection(fields).await?;
        while let Some(document) = found.try_next().await? {
            for name in names.iter().filter(|name| shows(&document, name)) {
                let places = uses.entry(name.clone()).or_default();
                if places.len() < limit {
                    places.extend(place::<K>(&document));
                }
            }
        }
        Ok(())
    }
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

fn shows(document: &RawDocumentBuf, name: &str) -> bool {
    let smaller = SMALLER_WIDTHS.map(|width| with_width(name, width));
    let addresses: Vec<_> = smaller.iter().map(String::as_str).chain([name]).collect();
    FIELDS
        .iter()
        .filter_map(|field| document.get_str(field).ok())
        .any(|text| addresses.iter().any(|address| text.contains(&format!("{UPLOADS}{address}"))))
}

fn place<K: Kind>(document: &RawDocumentBuf) -> Option<MediaPlace> {
    let mut reader = FieldReader::new(document);
    let title = reader.text("title").unwrap_or_default();
    Some(MediaPlace {
        content_type: K::TYPE,
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
}
