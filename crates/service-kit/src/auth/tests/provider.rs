//! A small identity provider on a real port.

use std::{
    collections::HashMap,
    net::TcpListener,
    sync::{Arc, Mutex},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use serde_json::{Value, json};

/// The data of the provider, and the number of its requests.
#[derive(Default)]
pub(super) struct State {
    pub(super) keys: Vec<Value>,
    pub(super) issuer: Option<String>,
    /// The location of the keys if it is another one.
    pub(super) jwks_uri: Option<String>,
    /// The description of each access token.
    pub(super) tokens: HashMap<String, Value>,
    pub(super) is_down: bool,
    pub(super) is_silent_about_unknown_tokens: bool,
    pub(super) keys_requests: usize,
    pub(super) tokeninfo_requests: usize,
}

pub(super) struct Provider {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
}

impl Provider {
    pub(super) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let data = web::Data::from(Arc::clone(&state));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        state.lock().unwrap().issuer = Some(url.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/.well-known/openid-configuration", web::get().to(configuration))
                .route("/keys", web::get().to(keys))
                .route("/tokeninfo", web::get().to(tokeninfo))
        });
        let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
        actix_web::rt::spawn(server);
        Self { url, state }
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }
}

async fn configuration(state: web::Data<Mutex<State>>) -> HttpResponse {
    let state = state.lock().unwrap();
    let issuer = state.issuer.clone().unwrap();
    let keys = state.jwks_uri.clone().unwrap_or_else(|| format!("{issuer}/keys"));
    answer(&state, json!({ "issuer": issuer, "jwks_uri": keys }))
}

async fn keys(state: web::Data<Mutex<State>>) -> HttpResponse {
    let mut state = state.lock().unwrap();
    state.keys_requests += 1;
    answer(&state, json!({ "keys": state.keys }))
}

async fn tokeninfo(
    state: web::Data<Mutex<State>>,
    query: web::Query<HashMap<String, String>>,
) -> HttpResponse {
    let response = {
        let mut state = state.lock().unwrap();
        state.tokeninfo_requests += 1;
        match state.tokens.get(&query["access_token"]) {
            Some(info) => Some(answer(&state, info.clone())),
            None if state.is_silent_about_unknown_tokens => None,
            None => Some(HttpResponse::BadRequest().json(json!({ "error": "invalid_token" }))),
        }
    };
    match response {
        Some(response) => response,
        None => std::future::pending().await,
    }
}

fn answer(state: &State, body: Value) -> HttpResponse {
    if state.is_down {
        HttpResponse::ServiceUnavailable().finish()
    } else {
        HttpResponse::Ok().json(body)
    }
}

/// A key pair of a provider.
pub(super) struct Key {
    id: &'static str,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub(super) fn p256(id: &'static str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap();
        Self { id, pair: Pair::P256(pair) }
    }

    /// Returns an RSA key. `ring` cannot generate one; this one was generated for these tests with
    /// `openssl genpkey` and has no other use.
    pub(super) fn rsa(id: &'static str) -> Self {
        let pair = RsaKeyPair::from_pkcs8(include_bytes!("rsa-2048.pk8")).unwrap();
        Self { id, pair: Pair::Rsa(pair) }
    }

    pub(super) fn public(&self) -> Value {
        match &self.pair {
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({
                    "kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig",
                    "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
                })
            }
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({
                    "kty": "RSA", "kid": self.id, "alg": "RS256", "use": "sig",
                    "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e),
                })
            }
        }
    }

    /// Returns a token with these claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        let algorithm = match self.pair {
            Pair::P256(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        };
        self.token_with_head(&json!({ "alg": algorithm, "kid": self.id, "typ": "JWT" }), claims)
    }

    pub(super) fn token_with_head(&self, head: &Value, claims: &Value) -> String {
        let message = message(head, claims);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Returns a token that is signed with the public key as a shared secret.
    pub(super) fn token_by_public_key(&self, claims: &Value) -> String {
        let message = message(&json!({ "alg": "HS256", "kid": self.id }), claims);
        let secret = match &self.pair {
            Pair::P256(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public().as_ref(),
        };
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signature = hmac::sign(&secret, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Returns a token without a signature.
pub(super) fn unsigned(claims: &Value) -> String {
    format!("{}.", message(&json!({ "alg": "none", "typ": "JWT" }), claims))
}

fn message(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(head), part(claims))
}
