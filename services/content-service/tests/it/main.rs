//! Tests of content-service on a real MongoDB and real ports, with a real sections-service.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod changes;
mod conditional;
mod editing;
mod feeds;
mod filters;
mod freshness;
mod http;
mod internal;
mod item_drafts;
mod item_tags;
mod kinds;
mod links;
mod lists;
mod migrations;
mod moves;
mod neighbours;
mod odd_shapes;
mod page_meta;
mod paths;
mod permalinks;
mod plain_shapes;
mod preview;
mod races;
mod redirects;
mod replicas;
mod report;
mod resolve;
mod revisions;
mod schedule;
mod search;
mod sections_service;
mod site;
mod sitemap;
mod slugs;
mod sort;
mod support;
mod taken_paths;
mod trash;
mod views;
mod visibility;
mod webhooks;
mod write;
