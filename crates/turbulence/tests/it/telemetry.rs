//! Traces and logs of a running site.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use mongodb::bson::doc;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Response;
use serde_json::Value;
use test_support::eventually;
use uuid::Uuid;

use crate::{
    collector::{Collector, Span},
    support::{Site, Summary, Turbulence},
};

/// A path that only these tests request.
const PATH: &str = "/pages/type/about";

/// The span of the caller.
const CALLER: &str = "00f067aa0ba902b7";

async fn started(endpoint: &str) -> (Site, Turbulence, Summary) {
    let site = Site::new().await;
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        // The default delay of five seconds would only slow down the tests.
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    site.database.insert("pages", [doc! { "page_type": "about", "is_published": true }]).await;
    let turbulence = site.up_with(&[], &environment);
    let summary = turbulence.ready().await;
    (site, turbulence, summary)
}

/// Sends a request within a trace.
async fn get(summary: &Summary, path: &str, trace_id: &str) -> Response {
    let client = service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap();
    let request = client.get(format!("{}{path}", summary.address));
    let traceparent = format!("00-{trace_id}-{CALLER}-01");
    request
        .header("traceparent", traceparent)
        .header("x-request-id", trace_id)
        .send()
        .await
        .unwrap()
}

fn new_trace_id() -> String {
    Uuid::new_v4().simple().to_string()
}

fn child<'a>(spans: &'a [Span], parent: &str, kind: SpanKind) -> Option<&'a Span> {
    spans.iter().find(|span| span.parent == parent && span.kind == kind)
}

/// Returns the spans of gateway, call and service.
fn path(spans: &[Span]) -> Option<[&Span; 3]> {
    let gateway = child(spans, CALLER, SpanKind::Server)?;
    let call = child(spans, &gateway.id, SpanKind::Client)?;
    let service = child(spans, &call.id, SpanKind::Server)?;
    Some([gateway, call, service])
}

#[tokio::test]
async fn a_request_is_one_trace_from_the_caller_to_the_database() {
    let collector = Collector::start();
    let (_site, turbulence, summary) = started(&collector.endpoint).await;
    let trace_id = new_trace_id();
    assert_eq!(get(&summary, PATH, &trace_id).await.status(), 200);

    let of_trace = || {
        let spans = collector.spans().into_iter().filter(|span| span.trace_id == trace_id);
        spans.collect::<Vec<_>>()
    };
    eventually("the gateway's and the service's spans have arrived", || {
        std::future::ready(path(&of_trace()).is_some())
    })
    .await;
    // Spans of running work would be missing.
    turbulence.stop().await;

    let spans = of_trace();
    let [gateway, call, service] = path(&spans).unwrap();
    assert_eq!(gateway.attributes["url.path"], PATH);
    assert_eq!(service.attributes["url.path"], PATH);
    assert_eq!(call.attributes["http.request.method"], "GET");
    let has_parent = |span: &Span| spans.iter().any(|other| other.id == span.parent);
    let roots: Vec<_> = spans.iter().filter(|span| !has_parent(span)).collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    assert_eq!(roots[0].id, gateway.id);

    let commands: Vec<_> = spans.iter().filter(|span| span.scope == "mongodb").collect();
    assert!(commands.iter().any(|span| span.name.contains("find")), "{spans:#?}");
    let is_below_service = |span: &Span| {
        let mut at = span;
        while let Some(parent) = spans.iter().find(|other| other.id == at.parent) {
            if parent.id == service.id {
                return true;
            }
            at = parent;
        }
        false
    };
    assert!(commands.iter().all(|span| is_below_service(span)), "{spans:#?}");

    // No other trace contains a part of the request.
    let is_of_request = |span: &&Span| {
        span.kind == SpanKind::Server
            && span.attributes.get("url.path").is_some_and(|at| at == PATH)
    };
    assert_eq!(collector.spans().iter().filter(is_of_request).count(), 2);
}

#[tokio::test]
async fn an_error_names_the_trace_of_its_caller() {
    let collector = Collector::start();
    // With an exporter and without one.
    for endpoint in [collector.endpoint.as_str(), ""] {
        let (_site, turbulence, summary) = started(endpoint).await;
        // The first is the gateway's own answer, the others come from the services.
        for path in ["/nope", "/stories/slug/nope", "/sections/slug/nope"] {
            let trace_id = new_trace_id();
            let response = get(&summary, path, &trace_id).await;
            assert_eq!(response.status(), 404, "{path}");
            assert_eq!(response.headers()["x-request-id"], *trace_id);
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["trace_id"], *trace_id, "{path}: {body}");
        }
        turbulence.stop().await;
    }
}

async fn causes_no_delay(endpoint: &str) {
    let (_site, turbulence, summary) = started(endpoint).await;
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(get(&summary, "/sections", &new_trace_id()).await.status(), 200);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "20 requests took {took:?}");
    let began = Instant::now();
    let ended = turbulence.stop().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "the end took {took:?}");
    assert_eq!(ended.messages(), [""; 0]);
    println!("the end took {took:?}");
}

#[tokio::test]
async fn an_unreachable_collector_delays_neither_requests_nor_the_end() {
    causes_no_delay("http://127.0.0.1:1").await;
}

#[tokio::test]
async fn a_silent_collector_delays_neither_requests_nor_the_end() {
    // The operating system accepts connections, and no program answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    causes_no_delay(&format!("http://{}", silent.local_addr().unwrap())).await;
}

#[tokio::test]
async fn pasted_html_causes_no_warning() {
    let site = Site::new().await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let client = service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap();
    let story = serde_json::json!({ "title": "Pasted", "content": "<table><b>x</b></table>" });
    let request = client.post(format!("{}/stories", summary.address)).bearer_auth(&summary.token);
    assert_eq!(request.json(&story).send().await.unwrap().status(), 201);
    let log = turbulence.stop().await.log();
    let is_of_parser = |line: &&Value| {
        line["target"].as_str().is_some_and(|target| target.starts_with("html5ever"))
    };
    assert_eq!(log.iter().find(is_of_parser), None);
}

#[tokio::test]
async fn every_line_of_the_log_is_json_and_a_request_has_its_ids_in_it() {
    let site = Site::new().await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let trace_id = new_trace_id();
    assert_eq!(get(&summary, "/stories/slug/nope", &trace_id).await.status(), 404);
    let lines = |log: Vec<Value>| {
        let of_request = log.into_iter().filter(|line| line["request_id"] == *trace_id);
        of_request.filter(|line| line["message"] == "request").collect::<Vec<_>>()
    };
    eventually("gateway and service have logged", || {
        std::future::ready(lines(turbulence.log()).len() == 2)
    })
    .await;
    let ended = turbulence.stop().await;
    assert_eq!(ended.messages(), [""; 0]);
    let lines = lines(ended.log());
    let mut routes: Vec<_> = lines.iter().map(|line| line["route"].as_str().unwrap()).collect();
    routes.sort_unstable();
    // The templates of the service and of the gateway.
    assert_eq!(routes, ["/stories/slug/{slug}", "/stories/{rest}*"]);
    for line in lines {
        assert_eq!(line["trace_id"], *trace_id, "{line}");
        assert_eq!((&line["status"], &line["level"]), (&404.into(), &"INFO".into()), "{line}");
        assert!(line["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
    }
}
