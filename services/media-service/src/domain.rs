//! Formats, names and pictures. Knows neither HTTP nor the store.

mod animation;
pub(crate) mod format;
mod isobmff;
pub(crate) mod name;
pub(crate) mod picture;
mod riff;
