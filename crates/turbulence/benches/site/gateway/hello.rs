//! A bare server, as the upper bound.

use std::net::TcpListener;

use actix_web::{App, HttpResponse, HttpServer, web};

/// Starts a server that answers each request with a body of so many bytes. Returns its address.
pub(super) fn hello(length: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let body = web::Bytes::from(vec![b'x'; length]);
    let app = move || {
        let body = body.clone();
        let respond = move || {
            let body = body.clone();
            async move { HttpResponse::Ok().content_type("application/json").body(body) }
        };
        App::new().default_service(web::to(respond))
    };
    tokio::spawn(HttpServer::new(app).disable_signals().listen(listener).unwrap().run());
    address
}
