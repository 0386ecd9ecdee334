//! The changes of the sections that the public sees, as the difference of two states of them.

use models::{PublicEvent, PublicKind, SectionEntry};

use super::projector::{Facts, changed};
use crate::domain::audience::Directory;

/// The largest number of sections that are told one by one. A change of more is one of all sections.
const MAX_SECTIONS: usize = 100;

/// Returns the changes between two states, the sections in the order of the later one. If a section with
/// content appears, disappears or moves, so does its content, which is told as one change.
pub(super) fn changes(before: &Directory, after: &Directory) -> Vec<Facts> {
    let mut sections = Vec::new();
    let mut content = Vec::new();
    for now in after.entries() {
        let former = before.by_id(now.section.id);
        let Some(event) = event(former, Some(now)) else { continue };
        let facts = facts(event, former, Some(now));
        if event != PublicEvent::Updated {
            content.extend(content_of(now, &facts));
        }
        sections.push(facts);
    }
    for former in before.entries().iter().filter(|one| after.by_id(one.section.id).is_none()) {
        let Some(event) = event(Some(former), None) else { continue };
        let facts = facts(event, Some(former), None);
        content.extend(content_of(former, &facts));
        sections.push(facts);
    }
    if sections.len() > MAX_SECTIONS {
        return PublicKind::all().map(|kind| changed(Some(kind))).collect();
    }
    sections.extend(content);
    sections
}

/// Returns the change of a section as the public sees it.
fn event(before: Option<&SectionEntry>, after: Option<&SectionEntry>) -> Option<PublicEvent> {
    let is_public = |entry: Option<&SectionEntry>| entry.is_some_and(|entry| entry.is_public);
    match (is_public(before), is_public(after)) {
        (false, false) => None,
        (true, false) => Some(match after {
            Some(after) if !after.is_deleted => PublicEvent::Unpublished,
            _ => PublicEvent::Deleted,
        }),
        (false, true) => Some(match before {
            None => PublicEvent::Created,
            Some(before) if before.is_deleted => PublicEvent::Restored,
            Some(_) => PublicEvent::Published,
        }),
        (true, true) => {
            let (before, after) = (before?, after?);
            let is_moved = before.section.path != after.section.path
                || before.section.parent_id != after.section.parent_id;
            if is_moved {
                Some(PublicEvent::Moved)
            } else if before.section != after.section {
                Some(PublicEvent::Updated)
            } else {
                None
            }
        }
    }
}

fn facts(event: PublicEvent, before: Option<&SectionEntry>, after: Option<&SectionEntry>) -> Facts {
    let before = before.filter(|entry| entry.is_public);
    let after = after.filter(|entry| entry.is_public);
    let known = after.or(before).map(|entry| &entry.section);
    let parent = |entry: &SectionEntry| entry.section.parent_id.map(|id| id.to_string());
    let differs = |value: &Option<String>, now: &Option<String>| value != now;
    let slug = after.map(|entry| entry.section.slug.clone());
    let path = after.and_then(|entry| entry.section.path.clone());
    let section_id = after.or(before).and_then(parent);
    Facts {
        kind: Some(PublicKind::SECTIONS),
        event,
        id: known.map(|section| section.id.to_string()),
        previous_section_id: before.and_then(parent).filter(|id| Some(id) != section_id.as_ref()),
        previous_slug: before
            .map(|entry| entry.section.slug.clone())
            .filter(|former| differs(&Some(former.clone()), &slug)),
        previous_path: before
            .and_then(|entry| entry.section.path.clone())
            .filter(|former| differs(&Some(former.clone()), &path)),
        section_id,
        slug,
        path,
        time: None,
    }
}

/// Returns the change of the content of a section that has changed like this. A link has none.
fn content_of(section: &SectionEntry, facts: &Facts) -> Option<Facts> {
    let content_type = section.section.content_type.content()?;
    Some(Facts {
        section_id: facts.id.clone(),
        path: facts.path.clone(),
        previous_path: facts.previous_path.clone(),
        ..changed(Some(PublicKind::of(content_type)))
    })
}
