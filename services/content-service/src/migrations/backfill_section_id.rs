//! Existing content gets its section.

use std::sync::Arc;

use async_trait::async_trait;
use migrations::{Definition, Fill, Migration, MigrationKind, Skip, Step, Steps, StepsError};
use models::{ContentType, SectionEntry};
use mongodb::bson::{Bson, Document, doc};
use sections_client::SectionsClient;

use super::{Context, EXISTING, PAGES, PROJECTS, STORIES, definition, sections};
use crate::store::filters::{Oddities, not_deleted, references};

/// The content of each section, as in the former frontend: collection, page type,
/// slug of the section.
const PARTS: [(&str, Option<&str>, &str); 4] = [
    (STORIES, None, "blog"),
    (PROJECTS, None, "projects"),
    (PAGES, Some("about"), "about"),
    (PAGES, Some("contact"), "contact"),
];

/// The id of the migration that links content to sections.
pub const SECTION_BACKFILL: &str = "0006_backfill_section_id";

/// Links content to sections. Convergent: what an old program adds later is linked at the next
/// start.
pub(super) struct BackfillSectionId {
    sections: SectionsClient,
}

pub(super) fn migration(context: &Context<'_>) -> BackfillSectionId {
    BackfillSectionId { sections: context.sections.clone() }
}

#[async_trait]
impl Migration for BackfillSectionId {
    fn definition(&self) -> Definition {
        definition(SECTION_BACKFILL, MigrationKind::Backfill, "content belongs to its section")
    }

    fn specification(&self) -> Document {
        let part = |(collection, page_type, slug): &(&str, Option<&str>, &str)| {
            doc! { "collection": *collection, "page_type": *page_type, "section": *slug }
        };
        doc! { "filter": unlinked(), "parts": PARTS.iter().map(part).collect::<Vec<_>>() }
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        let sections = sections(&self.sections).await?;
        let mut steps: Steps = PARTS
            .iter()
            .map(|(collection, page_type, slug)| link(&sections, collection, *page_type, slug))
            .collect();
        steps.push(other_pages());
        for kind in EXISTING {
            let collection = kind.collection();
            steps.push(without_section(collection));
            steps.push(orphans(&sections, collection));
            steps.push(in_trash(&sections, collection));
            steps.push(misplaced(&sections, kind));
        }
        Ok(steps)
    }
}

/// Matches content without `section_id`. An explicit null is an editor's "no section" and stays.
fn unlinked() -> Document {
    doc! { "section_id": { "$exists": false } }
}

fn link(
    sections: &[SectionEntry],
    collection: &'static str,
    page_type: Option<&str>,
    slug: &str,
) -> Arc<dyn Step> {
    let mut filter = unlinked();
    if let Some(page_type) = page_type {
        filter.insert("page_type", page_type);
    }
    let of_type = page_type.map(|page_type| format!(" of type {page_type}")).unwrap_or_default();
    let key = format!("{collection}{of_type} → section {slug}");
    // Content stays visible: it is linked to no section that is deleted, and to none that is hidden
    // because a field cannot be read.
    let is_open = |entry: &&SectionEntry| {
        !entry.is_deleted && !entry.is_unreadable && !entry.section.is_link()
    };
    match sections.iter().filter(is_open).find(|entry| entry.section.slug == slug) {
        Some(entry) => {
            let values = doc! { "section_id": entry.section.id.to_string() };
            Arc::new(Fill::set(key, collection, filter, values))
        }
        None => Arc::new(Skip {
            key: key.into(),
            reason: format!("there is no section `{slug}`: tried again at the next start"),
            documents: Some((collection, filter)),
        }),
    }
}

fn other_pages() -> Arc<dyn Step> {
    let known: Vec<_> = PARTS.iter().filter_map(|(_, page_type, _)| *page_type).collect();
    let mut filter = unlinked();
    filter.insert("page_type", doc! { "$nin": known });
    leave(PAGES, "of other types", "no section is known for their type", filter)
}

fn without_section(collection: &'static str) -> Arc<dyn Step> {
    let filter = doc! { "section_id": { "$type": "null" } };
    leave(collection, "with section_id null", "an editor chose no section", filter)
}

fn orphans(sections: &[SectionEntry], collection: &'static str) -> Arc<dyn Step> {
    let filter = refers(doc! { "$nin": forms(sections) });
    leave(collection, "in a section that does not exist", "an existing value stays", filter)
}

fn in_trash(sections: &[SectionEntry], collection: &'static str) -> Arc<dyn Step> {
    let deleted = sections.iter().filter(|entry| entry.is_deleted);
    let filter = refers_to_one_of(deleted);
    let reason = "an existing value stays; the public does not see them";
    leave(collection, "in a deleted section", reason, filter)
}

/// Content in a section for content of another kind.
fn misplaced(sections: &[SectionEntry], kind: ContentType) -> Arc<dyn Step> {
    let live = sections.iter().filter(|entry| !entry.is_deleted);
    let filter = refers_to_one_of(live.filter(|entry| entry.section.content_type != kind));
    leave(kind.collection(), "in a section for other content", "an existing value stays", filter)
}

/// Matches content with such a section that is not deleted: the integrity report counts the same.
fn refers(mut to: Document) -> Document {
    to.insert("$type", ["string", "objectId"].to_vec());
    to.insert("$not", doc! { "$type": "array" });
    doc! { "$and": [{ "section_id": to }, not_deleted(Oddities::ANY)] }
}

fn refers_to_one_of<'a>(sections: impl IntoIterator<Item = &'a SectionEntry>) -> Document {
    refers(doc! { "$in": forms(sections) })
}

/// Returns the forms in which content refers to these sections.
fn forms<'a>(sections: impl IntoIterator<Item = &'a SectionEntry>) -> Vec<Bson> {
    let ids: Vec<_> = sections.into_iter().map(|entry| entry.section.id).collect();
    references(&ids)
}

fn leave(collection: &'static str, which: &str, reason: &str, filter: Document) -> Arc<dyn Step> {
    Arc::new(Skip {
        key: format!("{collection} {which}").into(),
        reason: reason.to_owned(),
        documents: Some((collection, filter)),
    })
}
