//! A collector of traces: a small HTTP server for OTLP exporters.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value,
    trace::v1::span::SpanKind,
};
use prost::Message;

/// The collector of a test.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    spans: Spans,
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// The parts of a span that tests check.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) trace_id: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) scope: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) attributes: HashMap<String, String>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let spans = Spans::default();
        let kept = spans.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(kept.clone()))
                .app_data(web::PayloadConfig::new(64 * 1024 * 1024))
                .route("/v1/traces", web::post().to(take))
                .route("/v1/metrics", web::post().to(HttpResponse::Ok))
        });
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let endpoint = format!("http://{}", server.addrs()[0]);
        tokio::spawn(server.run());
        Self { endpoint, spans }
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

async fn take(spans: web::Data<Spans>, body: web::Bytes) -> HttpResponse {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let all = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let mut taken = Vec::new();
    for scope_spans in all {
        let scope = scope_spans.scope.map(|scope| scope.name).unwrap_or_default();
        taken.extend(scope_spans.spans.into_iter().map(|span| {
            Span {
                trace_id: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                scope: scope.clone(),
                kind: span.kind(),
                attributes: span
                    .attributes
                    .iter()
                    .filter_map(|attribute| {
                        let Value::StringValue(value) = attribute.value.clone()?.value? else {
                            return None;
                        };
                        Some((attribute.key.clone(), value))
                    })
                    .collect(),
                name: span.name,
            }
        }));
    }
    spans.lock().unwrap().extend(taken);
    HttpResponse::Ok().content_type("application/x-protobuf").finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
