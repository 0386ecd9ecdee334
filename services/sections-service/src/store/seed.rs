//! The sections of a new site.

use chrono::{DateTime, Utc};
use mongodb::bson::{self, Document, doc};

/// Returns the documents of the sections that the frontend used to list.
pub(crate) fn initial_sections(now: DateTime<Utc>) -> Vec<Document> {
    let now = bson::DateTime::from_millis(now.timestamp_millis());
    [
        ("Blog", "blog", "feed", "story"),
        ("About", "about", "static-page", "page"),
        ("Projects", "projects", "card-grid", "project"),
        ("Contact", "contact", "static-page", "page"),
    ]
    .into_iter()
    .zip(0_i32..)
    .map(|((title, slug, display_type, content_type), sort_order)| {
        doc! {
            "title": title,
            "slug": slug,
            "parent_id": null,
            "display_type": display_type,
            "content_type": content_type,
            "nav_visibility": "main",
            "sort_order": sort_order,
            "is_published": true,
            "is_deleted": false,
            "createdDate": now,
            "updatedDate": now,
        }
    })
    .collect()
}
