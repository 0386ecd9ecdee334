//! The rules of content that need neither HTTP nor a database: what an item is, who sees it, and the
//! order of lists.

pub(crate) mod audience;
pub(crate) mod content;
pub(crate) mod html_content;
pub(crate) mod item_paths;
pub(crate) mod list;
pub(crate) mod pagination;
pub(crate) mod preview;
pub(crate) mod redirect;
pub(crate) mod redirect_csv;
pub(crate) mod schedule;
pub(crate) mod search;
pub(crate) mod site;
pub(crate) mod tag;
pub(crate) mod trash;
pub(crate) mod webhook;
pub(crate) mod webhook_secret;
pub(crate) mod words;
