//! The routes of content-service.

pub(crate) mod api;
pub(crate) mod changes;
mod describe;
mod error_sets;
mod errors;
mod feeds;
pub(crate) mod integrity;
mod internal;
mod item;
mod item_tags;
mod kind;
mod kind_routes;
mod list;
mod moves;
pub(crate) mod preview;
mod resolution;
mod resolve;
mod robots;
mod search;
pub(crate) mod sections;
mod site;
mod sitemap;
pub(crate) mod tags;
mod view;
pub(crate) mod webhooks;
mod write;
mod xml;
