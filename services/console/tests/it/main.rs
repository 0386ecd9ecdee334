//! Tests of the console against a real gateway and services.

mod content;
mod frame;
mod health;
mod hostile;
mod sections;
mod sign_in;
mod support;
