//! Sessions: the token of a person, encrypted in a cookie that only the console can read.
//!
//! Nothing is stored. Each replica derives the same keys from the secret that all processes share. A
//! cookie that cannot be opened, was changed, or is of another key or version is none.

use std::time::Duration;

use actix_web::http::header::HeaderMap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf, hmac,
    rand::{SecureRandom, SystemRandom},
};
use service_kit::runtime::settings::secret::Secret;

/// The name of the cookie.
pub(crate) const COOKIE: &str = "turbulence_console";

/// The path below which browsers send the cookie: no other part of the site gets it.
const PATH: &str = "/console";

/// The time without a request after which a session ends: a working day and its breaks.
pub(crate) const MAX_IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// The time after which the cookie is renewed by a request: much less than [`MAX_IDLE`], and not with
/// each answer.
const RENEWED_AFTER: TimeDelta = TimeDelta::minutes(5);

/// The longest token, in bytes. Browsers keep cookies of 4,096 bytes (RFC 6265 §6.1), and encryption
/// and base64 make of this one some 3,900.
pub(crate) const MAX_TOKEN_BYTES: usize = 2_850;

/// The purposes of the keys, so that no other use of the secret gives the same ones. Another version of
/// the format has another purpose.
const COOKIE_PURPOSE: &[u8] = b"turbulence console sessions, version 1";
const FORM_PURPOSE: &[u8] = b"turbulence console forms, version 1";

const NONCE_BYTES: usize = ring::aead::NONCE_LEN;
const TIME_BYTES: usize = size_of::<i64>();

/// The length of the mark of a form before it is masked, in bytes: that of SHA-256.
const MARK_BYTES: usize = 32;

/// The keys of cookies and of the marks of forms.
pub(crate) struct Keys {
    cookies: LessSafeKey,
    forms: hmac::Key,
    random: SystemRandom,
}

/// A person who is signed in.
#[derive(Clone)]
pub(crate) struct Session {
    /// The token, which the gateway gets.
    pub(crate) token: String,
    /// The time of the last request that renewed the cookie.
    renewed_at: DateTime<Utc>,
}

impl Session {
    pub(crate) fn new(token: String, now: DateTime<Utc>) -> Self {
        Self { token, renewed_at: now }
    }

    /// Returns the session with a new time if the cookie is to be renewed.
    pub(crate) fn renewed(&self, now: DateTime<Utc>) -> Option<Self> {
        let is_due = now - self.renewed_at >= RENEWED_AFTER;
        is_due.then(|| Self::new(self.token.clone(), now))
    }
}

/// The length of output that HKDF makes: a key of 256 bits.
struct KeyLength;

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

impl Keys {
    /// Derives the keys from the secret that all processes share. Without one they are random: sessions
    /// end with the process, and other replicas do not know them.
    pub(crate) fn new(secret: Option<&Secret>) -> Self {
        let random;
        let secret = match secret {
            Some(secret) => secret,
            None => {
                tracing::warn!(
                    "`internal.secret` is not set: people have to sign in to the console again after \
                     each start, and at each of several replicas"
                );
                random = Secret::generate();
                &random
            }
        };
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"turbulence console")
            .extract(secret.expose().as_bytes());
        Self {
            cookies: LessSafeKey::new(cookie_key(&derive(&secret, COOKIE_PURPOSE))),
            forms: hmac::Key::new(hmac::HMAC_SHA256, &derive(&secret, FORM_PURPOSE)),
            random: SystemRandom::new(),
        }
    }

    /// Returns the value of the cookie of a session, or `None` if the token is too long for one.
    fn seal(&self, session: &Session) -> Option<String> {
        if session.token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let mut nonce = [0; NONCE_BYTES];
        self.random.fill(&mut nonce).ok()?;
        let mut text = session.renewed_at.timestamp().to_be_bytes().to_vec();
        text.extend_from_slice(session.token.as_bytes());
        let aad = Aad::from(COOKIE_PURPOSE);
        self.cookies
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &text].concat()))
    }

    /// Returns the session of a cookie's value that is valid at this time.
    fn open(&self, value: &str, now: DateTime<Utc>) -> Option<Session> {
        let mut sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (nonce, text) = sealed.split_at_mut_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.cookies.open_in_place(nonce, Aad::from(COOKIE_PURPOSE), text).ok()?;
        let (seconds, token) = text.split_at_checked(TIME_BYTES)?;
        let renewed_at = DateTime::from_timestamp(i64::from_be_bytes(seconds.try_into().ok()?), 0)?;
        let idle = now - renewed_at;
        // Clocks of replicas differ a little.
        let is_current =
            idle < TimeDelta::from_std(MAX_IDLE).ok()? && idle > -TimeDelta::minutes(5);
        let token = String::from_utf8(token.to_vec()).ok()?;
        is_current.then_some(Session { token, renewed_at })
    }

    /// Returns the session that the cookies of a request contain.
    pub(crate) fn session(&self, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Session> {
        let lines = headers.get_all("cookie").filter_map(|line| line.to_str().ok());
        let mut values = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == COOKIE).then_some(value)
        });
        // Another page of the host may have set a second one.
        values.find_map(|value| self.open(value, now))
    }

    /// Returns the `Set-Cookie` of a session, or `None` if its token is too long for a cookie.
    pub(crate) fn cookie(&self, session: &Session, is_secure: bool) -> Option<String> {
        Some(cookie(&self.seal(session)?, MAX_IDLE, is_secure))
    }

    /// Returns the mark of the forms of a session. It belongs to the token, so that a form stays valid
    /// if its reader signs in again. It is different in each answer, so that the length of a compressed
    /// page tells nothing about it.
    pub(crate) fn form_mark(&self, session: &Session) -> String {
        let mut mask = [0; MARK_BYTES];
        // Without a mask the mark is valid, too.
        _ = self.random.fill(&mut mask);
        let mark = hmac::sign(&self.forms, session.token.as_bytes());
        let masked: Vec<u8> = mask.iter().zip(mark.as_ref()).map(|(a, b)| a ^ b).collect();
        URL_SAFE_NO_PAD.encode([&mask[..], &masked].concat())
    }

    /// Returns `true` if a mark is one of the session.
    pub(crate) fn is_form_mark(&self, session: &Session, mark: &str) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(mark) else { return false };
        if bytes.len() != 2 * MARK_BYTES {
            return false;
        }
        let (mask, masked) = bytes.split_at(MARK_BYTES);
        let mark: Vec<u8> = mask.iter().zip(masked).map(|(a, b)| a ^ b).collect();
        hmac::verify(&self.forms, session.token.as_bytes(), &mark).is_ok()
    }
}

/// Returns the `Set-Cookie` that removes the cookie of a session.
pub(crate) fn no_cookie(is_secure: bool) -> String {
    cookie("", Duration::ZERO, is_secure)
}

/// Returns a `Set-Cookie` (RFC 6265 §4.1). The value is base64url or empty.
fn cookie(value: &str, age: Duration, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    let age = age.as_secs();
    format!("{COOKIE}={value}; Path={PATH}; Max-Age={age}; HttpOnly; SameSite=Lax{secure}")
}

fn derive(secret: &hkdf::Prk, purpose: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    #[expect(clippy::expect_used, reason = "HKDF with SHA-256 makes up to 8,160 bytes")]
    secret
        .expand(&[purpose], KeyLength)
        .and_then(|output| output.fill(&mut key))
        .expect("the length is within that of HKDF");
    key
}

fn cookie_key(bytes: &[u8; 32]) -> UnboundKey {
    #[expect(clippy::expect_used, reason = "the key of AES-256 has 32 bytes")]
    UnboundKey::new(&AES_256_GCM, bytes).expect("the key has the length of the algorithm")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secret: &str) -> Keys {
        Keys::new(Some(&secret.parse().unwrap()))
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn a_cookie_is_opened_by_every_replica_until_it_was_idle_for_too_long() {
        let session = Session::new("the token of a person".to_owned(), at(0));
        let sealed = keys(SECRET).seal(&session).unwrap();
        assert!(!sealed.contains("token"));
        let idle = i64::try_from(MAX_IDLE.as_secs()).unwrap();
        for (seconds, is_valid) in [(0, true), (idle - 1, true), (idle, false), (-301, false)] {
            let opened = keys(SECRET).open(&sealed, at(seconds));
            assert_eq!(opened.is_some(), is_valid, "{seconds}");
            assert!(opened.is_none_or(|opened| opened.token == session.token));
        }
        // The same session looks different each time.
        assert_ne!(keys(SECRET).seal(&session).unwrap(), sealed);
    }

    #[test]
    fn a_cookie_of_another_key_or_that_was_changed_is_none() {
        let session = Session::new("the token of a person".to_owned(), at(0));
        let sealed = keys(SECRET).seal(&session).unwrap();
        assert!(keys("0123456789abcdeg").open(&sealed, at(0)).is_none());
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert!(
                keys(SECRET).open(&URL_SAFE_NO_PAD.encode(changed), at(0)).is_none(),
                "{index}"
            );
        }
        for length in 0..bytes.len() {
            let cut = URL_SAFE_NO_PAD.encode(&bytes[..length]);
            assert!(keys(SECRET).open(&cut, at(0)).is_none(), "{length}");
        }
        for odd in ["", "x", "é", "{}", &"A".repeat(9_000)] {
            assert!(keys(SECRET).open(odd, at(0)).is_none(), "{odd}");
        }
    }

    #[test]
    fn the_longest_token_fits_into_a_cookie() {
        let session = |length| Session::new("x".repeat(length), at(0));
        let cookie = keys(SECRET).cookie(&session(MAX_TOKEN_BYTES), true).unwrap();
        assert!(cookie.len() <= 4_096, "{}", cookie.len());
        assert!(keys(SECRET).cookie(&session(MAX_TOKEN_BYTES + 1), true).is_none());
    }

    #[test]
    fn the_mark_of_a_form_belongs_to_the_token_and_the_key() {
        let session = |token: &str| Session::new(token.to_owned(), at(0));
        let (one, other) = (session("one"), session("other"));
        let mark = keys(SECRET).form_mark(&one);
        assert_ne!(mark, keys(SECRET).form_mark(&one));
        assert!(keys(SECRET).is_form_mark(&Session { renewed_at: at(9), ..one.clone() }, &mark));
        assert!(!keys(SECRET).is_form_mark(&other, &mark));
        assert!(!keys("0123456789abcdeg").is_form_mark(&one, &mark));
        for odd in ["", "x", &mark[1..], &mark[..mark.len() - 2], &format!("{mark}AA")] {
            assert!(!keys(SECRET).is_form_mark(&one, odd), "{odd}");
        }
    }
}
