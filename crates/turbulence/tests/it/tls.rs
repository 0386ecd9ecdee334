//! TLS of the gateway.

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client, StatusCode};
use test_support::eventually;

use crate::{
    metrics,
    support::{Folder, Site, Turbulence},
};

const NAME: &str = "site.example";

const ENVIRONMENT: [(&str, &str); 2] = [
    ("TURBULENCE__SERVER__TLS__CERTIFICATE", "tls/certificate.pem"),
    ("TURBULENCE__SERVER__TLS__KEY", "tls/key.pem"),
];

/// Writes a new certificate and its key. Returns the certificate.
fn write_certificate(folder: &Folder) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([NAME.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    folder.write("tls/certificate.pem", &certificate);
    folder.write("tls/key.pem", key.serialize_pem());
    Certificate::from_pem(certificate.as_bytes()).unwrap()
}

/// Requests a path under the name of the site, as a client that trusts one certificate.
async fn get(trusted: Certificate, address: &str, path: &str) -> reqwest::Result<StatusCode> {
    let (_, address) = address.split_once("://").unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    #[expect(clippy::disallowed_methods, reason = "no other client trusts the certificate")]
    let client = Client::builder()
        .timeout(Duration::from_secs(30))
        .no_proxy()
        .tls_built_in_root_certs(false)
        .add_root_certificate(trusted)
        .resolve(NAME, address)
        .build()?;
    let url = format!("https://{NAME}:{}{path}", address.port());
    Ok(client.get(url).send().await?.status())
}

#[tokio::test]
async fn a_site_serves_https_and_takes_a_renewed_certificate() {
    let site = Site::new().await;
    let old = write_certificate(&site.folder);
    let metrics_port = [("TURBULENCE__METRICS__PORT", "0")];
    let turbulence = site.up_with(&[], &[&ENVIRONMENT[..], &metrics_port].concat());
    let metrics_at = metrics::address(&turbulence).await;
    let summary = turbulence.ready().await;
    assert!(summary.address.starts_with("https://127.0.0.1:"), "{}", summary.text);
    assert!(summary.text.contains("4 sections"), "{}", summary.text);
    for path in ["/sections", "/stories", "/health/ready"] {
        assert_eq!(get(old.clone(), &summary.address, path).await.unwrap(), 200, "{path}");
    }
    let plain = summary.address.replace("https:", "http:");
    let (status, problem) = test_support::get(&format!("{plain}/sections"), None).await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &"bad_request".into()));

    site.folder.write("tls/key.pem", "no key");
    turbulence.logged("the certificate was not replaced").await;
    let values = metrics::scrape(&metrics_at).await;
    assert_eq!(values.value("turbulence_tls_certificate_unusable"), 1.0);
    assert_eq!(get(old.clone(), &summary.address, "/sections").await.unwrap(), 200);
    let new = write_certificate(&site.folder);
    let (renewed, address) = (&new, &summary.address);
    eventually("the new certificate is used", || async move {
        get(renewed.clone(), address, "/sections").await.is_ok_and(|status| status == 200)
    })
    .await;
    assert!(get(old, &summary.address, "/sections").await.is_err());
    let values = metrics::scrape(&metrics_at).await;
    assert_eq!(values.value("turbulence_tls_certificate_unusable"), 0.0);
    assert!(values.value("turbulence_tls_certificate_remaining_seconds") > 1e9);
    for name in
        ["turbulence_tls_certificate_unusable", "turbulence_tls_certificate_remaining_seconds"]
    {
        assert_eq!(metrics::documented()[name], "gauge", "{name}");
    }
    turbulence.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_end_the_start_in_one_line() {
    let folder = Folder::new();
    for (command, name) in [("up", "turbulence"), ("gateway", "gateway")] {
        write_certificate(&folder);
        let refused = async |expected: &str| {
            let mut command = folder.command(&[command, "--port", "0"]);
            let ended = Turbulence::spawn({
                command.envs(ENVIRONMENT);
                command
            });
            let ended = ended.ended().await;
            let line = ended.failure(2);
            let begin = format!("{name}: wrong setting: `server.tls.");
            assert!(line.starts_with(&begin) && line.contains(expected), "{line}");
        };
        folder.write("tls/key.pem", KeyPair::generate().unwrap().serialize_pem());
        refused("key`: tls/key.pem is not the key of the first certificate in tls/certificate.pem")
            .await;
        std::fs::remove_file(folder.path("tls/certificate.pem")).unwrap();
        refused("certificate`: tls/certificate.pem cannot be read: No such file").await;
    }
    // No MongoDB was started for any of it.
    assert!(!folder.path(".turbulence").exists());
}
