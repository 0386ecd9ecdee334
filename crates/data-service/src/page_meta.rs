//! The facts about a page for search engines and previews of links, as they are stored.
//!
//! Documents of existing sites may have fields of these names. Their values are read in every shape whose
//! meaning is plain, and stay as they are until an editor changes them.

use models::{PageMeta, PageMetaPatch};
use mongo_kit::lenient::FieldReader;
use mongodb::bson::{Bson, Document, doc};

const DESCRIPTION: &str = "description";
const SOCIAL_IMAGE: &str = "social_image";
const CANONICAL: &str = "canonical";
const NOINDEX: &str = "noindex";

/// The names of the fields.
pub const FIELDS: [&str; 4] = [DESCRIPTION, SOCIAL_IMAGE, CANONICAL, NOINDEX];

/// Reads the facts of a document. A blank text is none.
pub fn read(reader: &mut FieldReader<'_>) -> PageMeta {
    let mut text = |field| reader.text(field).filter(|text| !text.trim().is_empty());
    PageMeta {
        description: text(DESCRIPTION),
        social_image: text(SOCIAL_IMAGE),
        canonical: text(CANONICAL),
        noindex: reader.flag(NOINDEX).unwrap_or_default(),
    }
}

/// Returns the fields with their values.
pub fn fields(page: &PageMeta) -> Document {
    let PageMeta { description, social_image, canonical, noindex } = page;
    doc! {
        DESCRIPTION: description,
        SOCIAL_IMAGE: social_image,
        CANONICAL: canonical,
        NOINDEX: noindex,
    }
}

/// Adds the fields that a change sets.
pub fn set(document: &mut Document, patch: PageMetaPatch) {
    let PageMetaPatch { description, social_image, canonical, noindex } = patch;
    for (field, text) in
        [(DESCRIPTION, description), (SOCIAL_IMAGE, social_image), (CANONICAL, canonical)]
    {
        if let Some(text) = text.into_option() {
            document.insert(field, text.map_or(Bson::Null, Bson::String));
        }
    }
    if let Some(noindex) = noindex {
        document.insert(NOINDEX, noindex);
    }
}
