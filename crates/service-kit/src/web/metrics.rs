//! `/metrics`: the metrics of the process for Prometheus, on a port of their own.
//!
//! The port is not the one of the API: Prometheus sends no secret, and the gateway is public.

use std::{io, net::TcpListener};

use actix_web::{
    App, HttpResponse, HttpServer,
    http::header::{CONTENT_TYPE, HeaderValue},
    web,
};

use crate::runtime::{error_chain::one_line, prometheus::PrometheusReader};

/// The media type of the text format ("Prometheus exposition formats", version 0.0.4).
const TEXT_FORMAT: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The largest number of connections: a few programs ask every few seconds.
const MAX_CONNECTIONS: usize = 32;

/// Serves the metrics until the process ends.
pub(crate) fn serve_metrics(listener: TcpListener, reader: PrometheusReader) -> io::Result<()> {
    let reader = web::Data::new(reader);
    let app = move || App::new().app_data(reader.clone()).route("/metrics", web::get().to(metrics));
    let server = HttpServer::new(app)
        .workers(1)
        .max_connections(MAX_CONNECTIONS)
        .disable_signals()
        .listen(listener)?;
    // It ends with the process, so that the last values of a process that stops can be read.
    tokio::spawn(server.run());
    Ok(())
}

async fn metrics(reader: web::Data<PrometheusReader>) -> HttpResponse {
    match reader.text() {
        Ok(text) => HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT_FORMAT)).body(text),
        Err(error) => {
            tracing::warn!(error = one_line(&error), "the metrics cannot be read");
            HttpResponse::InternalServerError().finish()
        }
    }
}
