//! Authentication and authorisation of callers.
//!
//! [`authenticator`] checks a token by the mode of the settings: it is a configured token, or an
//! identity provider confirms an e-mail address (`google`, `jwt`). The service looks up the user
//! with that address ([`authenticator::Users`]). Results are cached for a while, so that later checks
//! of the same token cost next to nothing.
//!
//! A handler that needs a token takes its arguments through [`extract::Authenticated`]; one that
//! needs a token only for some requests calls [`caller::Caller::of`].
//!
//! A new kind of provider is a variant of the scheme in [`authenticator`] and a file here that
//! returns an `identity::Identity`.

pub mod authenticator;
pub mod caller;
pub mod extract;
mod google;
mod identity;
mod jwt;
mod keys;
mod signatures;
mod static_token;
#[cfg(test)]
mod tests;
