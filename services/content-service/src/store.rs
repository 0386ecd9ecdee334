//! The collections of content and of users.

pub(crate) mod authors;
pub(crate) mod collections;
pub(crate) mod content;
pub(crate) mod counts;
pub(crate) mod dates;
pub(crate) mod deliveries;
pub(crate) mod drafts;
pub(crate) mod filters;
mod find;
pub(crate) mod ids;
pub(crate) mod indexes;
mod integrity;
pub(crate) mod keys;
pub(crate) mod kind;
pub(crate) mod list;
mod media;
pub(crate) mod moves;
mod order;
pub(crate) mod page_memory;
mod report;
pub(crate) mod section_directory;
pub(crate) mod slugs;
pub(crate) mod states;
pub(crate) mod survey;
pub(crate) mod users;
pub(crate) mod webhooks;
pub(crate) mod write;
