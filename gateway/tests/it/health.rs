//! `/health`, `/health/live`, `/health/ready` and `/warmup` of the gateway itself.

use serde_json::Value;

use crate::support::{Exchange, Setup, TestGateway, Upstream, eventually, nobody, ok};

#[tokio::test]
async fn health_and_liveness_send_no_requests() {
    let gateway = Setup::replicas(vec![nobody().await], vec![nobody().await]).start().await;
    let body: Value = gateway.get("/health").await.json().await.unwrap();
    assert_eq!(body["status"], "healthy");
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(gateway.get("/health/live").await.status(), 200);
}

#[tokio::test]
async fn a_slash_at_the_end_makes_no_difference() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = TestGateway::before(&upstream).await;
    gateway.readiness(200).await;
    for path in
        ["/health", "/health/live", "/health/ready", "/warmup", "/openapi.json", "/integrity"]
    {
        let plain = gateway.get(path).await;
        for with_slash in [format!("{path}/"), format!("{path}/?x=1")] {
            let status = gateway.get(&with_slash).await.status();
            let plain = match with_slash.ends_with('/') {
                true => plain.status(),
                false => gateway.get(&format!("{path}?x=1")).await.status(),
            };
            assert_eq!(status, plain, "{with_slash}");
            assert_ne!(status, 404, "{with_slash}");
        }
        let head = gateway.client.head(gateway.url(&format!("{path}/"))).send().await.unwrap();
        assert_eq!(head.status(), plain.status(), "HEAD {path}/");
    }
    for path in ["/health//", "/health/ready//", "//"] {
        assert_eq!(gateway.get(path).await.status(), 400, "{path}");
    }
    // A forwarded path is unchanged, and the page finds its files.
    let slashes = upstream.heads().len();
    gateway.get("/stories/").await;
    assert_eq!(upstream.heads()[slashes].target(), "/stories/");
    let page = gateway.get("/docs/").await;
    assert_eq!(
        (page.status(), &page.headers()["location"]),
        (307.try_into().unwrap(), &"../docs".parse().unwrap())
    );
}

#[tokio::test]
async fn readiness_lists_every_replica_of_every_service() {
    let (sections, content) = (Upstream::answering("").await, Upstream::answering("").await);
    let second = Upstream::answering("").await;
    second.set_ready_status(503);
    let replicas = Setup::replicas(vec![sections.address], vec![content.address, second.address]);
    let [media, console] = [(); 2].map(|()| vec![sections.address]);
    let gateway = Setup { media, console, ..replicas }.start().await;
    gateway.readiness(200).await;
    // Ready because of the first replica; the second one may not have been probed yet.
    let body = eventually(async || {
        let body = gateway.readiness(200).await;
        let replicas = &body["checks"]["content-service"]["replicas"];
        let is_probed = replicas[1]["status"] == "unhealthy"
            && ["media-service", "console"]
                .iter()
                .all(|name| body["checks"][name]["replicas"][0]["status"] == "healthy");
        is_probed.then_some(body)
    })
    .await;
    let first = &body["checks"]["sections-service"]["replicas"][0];
    assert_eq!(first["address"], format!("http://{}", sections.address));
    insta::with_settings!({ sort_maps => true }, {
        insta::assert_json_snapshot!(body, {
            ".timestamp" => "[time]",
            ".checks.*.replicas[].address" => "[address]",
        }, @r#"
        {
          "checks": {
            "console": {
              "replicas": [
                {
                  "address": "[address]",
                  "detail": {
                    "status": "ready"
                  },
                  "reason": null,
                  "status": "healthy"
                }
              ],
              "status": "ok"
            },
            "content-service": {
              "replicas": [
                {
                  "address": "[address]",
                  "detail": {
                    "status": "ready"
                  },
                  "reason": null,
                  "status": "healthy"
                },
                {
                  "address": "[address]",
                  "detail": {
                    "status": "not_ready"
                  },
                  "reason": "not ready",
                  "status": "unhealthy"
                }
              ],
              "status": "ok"
            },
            "media-service": {
              "replicas": [
                {
                  "address": "[address]",
                  "detail": {
                    "status": "ready"
                  },
                  "reason": null,
                  "status": "healthy"
                }
              ],
              "status": "ok"
            },
            "sections-service": {
              "replicas": [
                {
                  "address": "[address]",
                  "detail": {
                    "status": "ready"
                  },
                  "reason": null,
                  "status": "healthy"
                }
              ],
              "status": "ok"
            }
          },
          "status": "ready",
          "timestamp": "[time]"
        }
        "#);
    });
}

#[tokio::test]
async fn readiness_fails_when_a_service_has_no_replica_left() {
    let sections = Upstream::answering("").await;
    let gateway = Setup::replicas(vec![sections.address], vec![nobody().await]).start().await;
    let body = eventually(async || {
        let body = gateway.readiness(503).await;
        (body["checks"]["sections-service"]["status"] == "ok").then_some(body)
    })
    .await;
    assert_eq!(body["status"], "not_ready");
    assert_eq!(body["checks"]["content-service"]["status"], "failed");
    assert_eq!(body["checks"]["content-service"]["reason"], "no replica is healthy");
    let replica = &body["checks"]["content-service"]["replicas"][0];
    assert_eq!(
        (&replica["status"], &replica["reason"]),
        (&"unhealthy".into(), &"unreachable".into())
    );
}

#[tokio::test]
async fn without_media_service_or_the_console_the_gateway_is_ready_and_says_so() {
    let upstream = Upstream::answering("").await;
    let replicas = Setup::new(&upstream, &upstream);
    let (media, console) = (vec![nobody().await], vec![nobody().await]);
    let gateway = Setup { media, console, ..replicas }.start().await;
    for (name, path) in [("media-service", "/uploads/x.webp"), ("console", "/console")] {
        let body = eventually(async || {
            let body = gateway.readiness(200).await;
            let check = &body["checks"][name];
            (check["replicas"][0]["reason"] == "unreachable").then_some(body)
        })
        .await;
        let check = &body["checks"][name];
        assert_eq!(
            (&check["status"], &check["warning"]),
            (&"ok".into(), &"no replica is healthy".into())
        );
        let response = gateway.get(path).await;
        assert_eq!(response.status(), 503);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["code"], "upstream_unavailable");
    }
}

/// Starts a service whose `/warmup` answers with this status.
async fn warming(status: u16) -> Upstream {
    Upstream::start(move |exchange: Exchange| async move {
        assert_eq!(exchange.head.target(), "/warmup");
        exchange.reply(format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}")).await
    })
    .await
}

async fn warm_up(gateway: &TestGateway) -> (u16, Value) {
    let response = gateway.get("/warmup").await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_warmup_reaches_every_service() {
    let (sections, content) = (warming(200).await, warming(200).await);
    let gateway = Setup::new(&sections, &content).start().await;
    let (status, body) = warm_up(&gateway).await;
    assert_eq!(status, 200);
    assert_eq!((&body["status"], &body["database"]), (&"warm".into(), &"connected".into()));
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!((sections.heads().len(), content.heads().len()), (1, 1));
}

#[tokio::test]
async fn a_warmup_fails_if_one_service_is_cold_or_down() {
    let warm = warming(200).await;
    let cold = warming(503).await;
    for content in [cold.address, nobody().await] {
        let gateway = Setup::replicas(vec![warm.address], vec![content]).start().await;
        let (status, body) = warm_up(&gateway).await;
        assert_eq!((status, &body["status"]), (503, &"cold".into()));
    }
}

#[tokio::test]
async fn a_warmup_succeeds_with_one_replica() {
    let warm = warming(200).await;
    let content = vec![nobody().await, warm.address];
    let gateway = Setup::replicas(vec![warm.address], content).start().await;
    assert_eq!(warm_up(&gateway).await.0, 200);
}

#[tokio::test]
async fn health_routes_of_the_services_are_not_forwarded() {
    let upstream = Upstream::answering(ok("the service's own")).await;
    let gateway = TestGateway::before(&upstream).await;
    for path in ["/health", "/health/live", "/health/ready"] {
        let body = gateway.get(path).await.text().await.unwrap();
        assert!(!body.contains("the service's own"), "{path}: {body}");
    }
    assert!(upstream.heads().is_empty());
}
