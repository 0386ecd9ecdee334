//! The folder that `turbulence export` writes and `turbulence import` reads.
//!
//! | entry | content |
//! |---|---|
//! | `manifest.json` | description of the export, with the SHA-256 of the files below ([`manifest`]) |
//! | `manifest.sha256` | SHA-256 of the manifest, as `sha256sum` writes it |
//! | `collections/NAME.jsonl` | documents of a collection, one a line ([`mod@line`]) |
//! | `media.jsonl` | names, sizes and SHA-256 of the files of media |
//! | `media/…` | files of media under their names |
//!
//! A folder with another name is filled and renamed at the end ([`folder`]).

mod canonical;
pub(crate) mod databases;
pub(crate) mod error;
pub(crate) mod folder;
pub(crate) mod line;
pub(crate) mod manifest;
pub(crate) mod reader;
