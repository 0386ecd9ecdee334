//! The console: pages with which a person runs a site.
//!
//! It has no data. Each page is made from answers of the gateway, which gets the token of the person
//! like that of any client; the token is in a cookie that only the console can read (`session`).
//!
//! - `guard` admits a request: it reads the session and checks that a form is one of ours.
//! - `pages` has the pages; `tree` orders the sections for them.
//! - `api` calls the gateway.
//! - `layout` is the frame of all pages, `fields` are parts of forms, `texts` has all texts.
//! - `upload` passes files on while they arrive.
//! - `assets` are the files that pages load. They are part of the program.
//!
//! A page works without scripts. With them, forms are sent in the background, so that nothing that was
//! typed is lost if the network fails.

mod api;
mod assets;
mod fields;
mod form;
mod guard;
mod layout;
mod pages;
mod session;
mod startup;
mod texts;
mod tree;
mod upload;

pub use startup::{Console, DEFAULT_PORT, NAME, StartupError, run};
