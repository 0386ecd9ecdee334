//! The tokens of preview links: one item, until a moment, signed with a key that all replicas have.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use models::ContentType;
use ring::hmac;
use service_kit::runtime::settings::secret::Secret;

/// The purpose of the key, so that no other use of the secret gives the same signatures.
const PURPOSE: &[u8] = b"turbulence preview links, version 1";

/// The most bytes of a token. An `_id` that is a text can have any length; links to such items are made
/// up to a length that works in all browsers.
const MAX_TOKEN_BYTES: usize = 1_500;

/// The key that signs preview links.
#[derive(Clone)]
pub(crate) struct PreviewKey(hmac::Key);

/// The mark of a link that shows the draft of the item, after its kind.
const OF_DRAFT: &str = "+draft";

/// The permission to read one item, published or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preview {
    pub(crate) content_type: ContentType,
    /// The id as it is listed.
    pub(crate) id: String,
    /// `true` if it shows the draft beside what is published, if there is one.
    pub(crate) draft: bool,
    /// The moment at which it ends, in whole seconds.
    pub(crate) expires_at: DateTime<Utc>,
}

/// The text is no token, was signed with another key, or has expired: nothing tells which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidPreview;

impl fmt::Debug for PreviewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreviewKey")
    }
}

impl PreviewKey {
    /// Derives the key from the secret that all processes share.
    pub(crate) fn new(secret: &Secret) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, PURPOSE).as_ref()))
    }

    /// Returns the token of a preview, or `None` if the id is too long for an address.
    pub(crate) fn sign(&self, preview: &Preview) -> Option<String> {
        let Preview { content_type, id, draft, expires_at } = preview;
        let of_draft = if *draft { OF_DRAFT } else { "" };
        let kind = content_type.as_str();
        let claim = format!("{kind}{of_draft} {} {id}", expires_at.timestamp());
        let signature = hmac::sign(&self.0, claim.as_bytes());
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let token = format!("{}.{}", encode(claim.as_bytes()), encode(signature.as_ref()));
        (token.len() <= MAX_TOKEN_BYTES).then_some(token)
    }

    /// Returns the preview that a token permits.
    pub(crate) fn verify(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Preview, InvalidPreview> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidPreview);
        }
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidPreview);
        let (claim, signature) = token.split_once('.').ok_or(InvalidPreview)?;
        let (claim, signature) = (decode(claim)?, decode(signature)?);
        hmac::verify(&self.0, &claim, &signature).map_err(|_| InvalidPreview)?;
        let claim = String::from_utf8(claim).map_err(|_| InvalidPreview)?;
        let mut parts = claim.splitn(3, ' ');
        let mut part = || parts.next().ok_or(InvalidPreview);
        let (word, seconds, id) = (part()?, part()?, part()?.to_owned());
        let (word, draft) = match word.strip_suffix(OF_DRAFT) {
            Some(word) => (word, true),
            None => (word, false),
        };
        let content_type = ContentType::ALL.into_iter().find(|kind| kind.as_str() == word);
        let seconds = seconds.parse().map_err(|_| InvalidPreview)?;
        let expires_at = DateTime::from_timestamp(seconds, 0).ok_or(InvalidPreview)?;
        if now >= expires_at {
            return Err(InvalidPreview);
        }
        let content_type = content_type.ok_or(InvalidPreview)?;
        Ok(Preview { content_type, id, draft, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn key(secret: &str) -> PreviewKey {
        PreviewKey::new(&secret.parse().unwrap())
    }

    fn preview(id: &str) -> Preview {
        let expires_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Preview { content_type: ContentType::Page, id: id.to_owned(), draft: false, expires_at }
    }

    #[test]
    fn a_token_permits_one_item_until_it_expires() {
        let key = key("a secret of the tests");
        for (draft, id) in [
            (false, "626e3e0035b0bc65bb5e1545"),
            (true, "626e3e0035b0bc65bb5e1545"),
            (false, "an id with spaces"),
            (true, "ä"),
            (false, ""),
        ] {
            let preview = Preview { draft, ..preview(id) };
            let token = key.sign(&preview).unwrap();
            assert!(
                token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            );
            let second = TimeDelta::seconds(1);
            let before = preview.expires_at - second;
            assert_eq!(key.verify(&token, before), Ok(preview.clone()));
            for now in [preview.expires_at, preview.expires_at + second] {
                assert_eq!(key.verify(&token, now), Err(InvalidPreview));
            }
        }
        assert_eq!(key.sign(&preview(&"x".repeat(5_000))), None);
    }

    #[test]
    fn another_secret_makes_all_tokens_invalid() {
        let token = key("a secret of the tests").sign(&preview("1")).unwrap();
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(key("another secret of them").verify(&token, now), Err(InvalidPreview));
    }

    proptest! {
        #[test]
        fn a_token_that_was_changed_is_refused(at in 0usize..80, byte in "[A-Za-z0-9._-]") {
            let key = key("a secret of the tests");
            let preview = preview("626e3e0035b0bc65bb5e1545");
            let token = key.sign(&preview).unwrap();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &byte);
            let verified = key.verify(&changed, DateTime::UNIX_EPOCH);
            prop_assert_eq!(verified.is_ok(), changed == token, "{}", changed);
        }

        #[test]
        fn any_text_is_a_token_or_refused(text in ".*") {
            let verified = key("a secret of the tests").verify(&text, DateTime::UNIX_EPOCH);
            prop_assert_eq!(verified, Err(InvalidPreview));
        }
    }
}
