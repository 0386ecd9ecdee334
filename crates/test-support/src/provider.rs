//! An identity provider that accepts every token.

use std::collections::HashMap;

use actix_web::{App, HttpServer, web};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// An identity provider for which the token `ann` is that of the user `ann@example.org`. A token may
/// have percent-encoded characters.
pub struct Provider {
    url: String,
}

impl Provider {
    /// Starts a provider on a free port.
    pub fn start() -> Self {
        async fn tokeninfo(query: web::Query<HashMap<String, String>>) -> web::Json<Value> {
            let name = percent_decode_str(&query["access_token"]).decode_utf8().unwrap();
            web::Json(json!({
                "aud": "site", "scope": "email", "expires_in": "3600", "email_verified": "true",
                "email": format!("{name}@example.org"),
            }))
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tokeninfo", listener.local_addr().unwrap());
        let app = || App::new().route("/tokeninfo", web::get().to(tokeninfo));
        let server = HttpServer::new(app).workers(1).disable_signals();
        tokio::spawn(server.listen(listener).unwrap().run());
        Self { url }
    }

    /// Returns the settings of a service that uses the provider.
    pub fn settings(&self) -> [(&str, &str); 3] {
        [
            ("auth.mode", "google"),
            ("auth.google.audience", "site"),
            ("auth.google.tokeninfo_url", &self.url),
        ]
    }
}
