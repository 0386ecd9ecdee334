//! The files, and the collection `media` with what is known about them.

pub(crate) mod collections;
pub(crate) mod document;
pub(crate) mod files;
pub(crate) mod media;
