//! The limits of MongoDB that a document to import must keep.

/// Size of the largest document in bytes (MongoDB manual, "Limits and Thresholds"). A document in
/// JSON may have as many bytes of text.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// Number of nested documents and arrays that MongoDB stores, including the document itself: 20
/// fewer than the 200 that it can read, plus one (`BSONDepth::getMaxDepthForUserStorage` in its
/// source).
pub(super) const MAX_DEPTH: usize = 181;
