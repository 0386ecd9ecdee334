//! An identity provider that is as slow as Google, and refuses tokens that it did not issue.

use std::{collections::HashMap, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::json;

/// The time that Google takes to describe a token.
const RESPONSE_TIME: Duration = Duration::from_millis(100);

/// Starts a provider on a free port and returns its address. The token `ann.1` is one of the user
/// `ann@example.org`; one without a dot is made up.
pub(crate) fn start() -> String {
    async fn tokeninfo(query: web::Query<HashMap<String, String>>) -> HttpResponse {
        tokio::time::sleep(RESPONSE_TIME).await;
        let Some((name, _)) = query["access_token"].split_once('.') else {
            return HttpResponse::BadRequest().json(json!({ "error": "invalid_token" }));
        };
        HttpResponse::Ok().json(json!({
            "aud": "site", "scope": "email", "expires_in": "3600", "email_verified": "true",
            "email": format!("{name}@example.org"),
        }))
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tokeninfo", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let app = || App::new().route("/tokeninfo", web::get().to(tokeninfo));
        let server = HttpServer::new(app).workers(1).disable_signals();
        actix_web::rt::System::new().block_on(server.listen(listener).unwrap().run())
    });
    url
}
