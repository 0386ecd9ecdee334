//! Answers that combine those of all services: health, findings of integrity checks, and the progress
//! of migrations.

pub(crate) mod health;
pub(crate) mod integrity;
mod migrations;
