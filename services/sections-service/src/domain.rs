//! The rules of sections: who sees them, where they are, and how they may be changed.

pub(crate) mod integrity;
pub(crate) mod navigation;
pub(crate) mod section_body;
pub(crate) mod stored_section;
pub(crate) mod tree;
pub(crate) mod tree_error;
