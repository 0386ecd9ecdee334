//! The secrets of webhooks, and the signatures that they make (Standard Webhooks, "Symmetric
//! signatures").

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use models::schema::{schema, text};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};

/// The prefix of a secret in text.
const PREFIX: &str = "whsec_";

/// The number of bytes of a secret (Standard Webhooks, "Secret key").
const MIN_BYTES: usize = 24;
const MAX_BYTES: usize = 64;

/// The number of bytes of a secret that is made here: as many as SHA-256 has.
const NEW_BYTES: usize = 32;

/// A secret that signs messages: `whsec_` and 24 to 64 bytes in base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct WebhookSecret(Vec<u8>);

schema!(
    WebhookSecret,
    text(
        concat!(
            "^whsec_([A-Za-z0-9+/]{4}){8}([A-Za-z0-9+/]{4}){0,12}",
            "(([A-Za-z0-9+/]{4})?([A-Za-z0-9+/][AQgw]==)?",
            "|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)$"
        ),
        PREFIX.len() + MAX_BYTES.div_ceil(3) * 4
    )
    .examples(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="])
);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

/// The text is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidWebhookSecret {
    #[error("must begin with `{PREFIX}`; leave it out to get a new one")]
    Prefix,
    #[error(
        "must be base64 after `{PREFIX}` (`A`-`Z`, `a`-`z`, `0`-`9`, `+`, `/`, padded with `=`)"
    )]
    Base64,
    #[error(
        "must have from {MIN_BYTES} to {MAX_BYTES} bytes after decoding the base64, and has {0}"
    )]
    Length(usize),
}

/// The operating system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random numbers")]
pub(crate) struct NoRandomNumbers;

impl WebhookSecret {
    /// Makes a secret.
    pub(crate) fn generate() -> Result<Self, NoRandomNumbers> {
        let mut bytes = vec![0; NEW_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomNumbers)?;
        Ok(Self(bytes))
    }

    /// Returns the signature of a message: of its id, the time of the attempt in seconds and its body.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    }
}

impl TryFrom<String> for WebhookSecret {
    type Error = InvalidWebhookSecret;

    fn try_from(text: String) -> Result<Self, InvalidWebhookSecret> {
        let text = text.strip_prefix(PREFIX).ok_or(InvalidWebhookSecret::Prefix)?;
        let bytes = STANDARD.decode(text).map_err(|_| InvalidWebhookSecret::Base64)?;
        if (MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(InvalidWebhookSecret::Length(bytes.len()))
        }
    }
}

impl From<WebhookSecret> for String {
    fn from(secret: WebhookSecret) -> Self {
        format!("{PREFIX}{}", STANDARD.encode(secret.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WebhookSecret, InvalidWebhookSecret> {
        WebhookSecret::try_from(text.to_owned())
    }

    /// The example of the specification.
    #[test]
    fn a_message_is_signed_as_the_specification_says() {
        let secret = parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_from_24_to_64_bytes() {
        for bytes in [24, 25, 26, 32, 63, 64] {
            let text = format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
            assert_eq!(parse(&text).map(String::from), Ok(text));
        }
        for bytes in [0, 1, 23, 65, 100] {
            let text = format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
            assert_eq!(parse(&text), Err(InvalidWebhookSecret::Length(bytes)));
        }
        for (text, error) in [
            ("", InvalidWebhookSecret::Prefix),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidWebhookSecret::Prefix),
            ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidWebhookSecret::Prefix),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", InvalidWebhookSecret::Base64),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_", InvalidWebhookSecret::Base64),
            ("whsec_ MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidWebhookSecret::Base64),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_new_secret_is_another_one_each_time_and_is_not_printed() {
        let (one, two) = (WebhookSecret::generate().unwrap(), WebhookSecret::generate().unwrap());
        assert_ne!(one, two);
        assert_eq!(format!("{one:?}"), "WebhookSecret");
        assert!(parse(&String::from(one)).is_ok());
    }
}
