//! Certificates that are made during a test, and clients that check them.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::web::connection::{
    Timeouts,
    tests::{Client, DEADLINE, GET, TestServer, eventually},
};

const NAME: &str = "site.example";

/// A certificate and its key in files.
pub(crate) struct TestCertificate {
    folder: TempDir,
    pem: String,
}

impl TestCertificate {
    pub(crate) fn new() -> Self {
        Self::valid(1975, 4096)
    }

    /// Returns a certificate that is valid from the beginning of one year to that of another.
    fn valid(from: i32, to: i32) -> Self {
        let mut this = Self { folder: tempfile::tempdir().unwrap(), pem: String::new() };
        this.renew(from, to);
        this
    }

    /// Replaces the certificate and its key in their files.
    fn renew(&mut self, from: i32, to: i32) {
        let (certificate, key) = generate(from, to);
        self.write("certificate.pem", &certificate);
        self.write("key.pem", &key);
        self.pem = certificate;
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    pub(crate) fn settings(&self) -> settings::Tls {
        let path = |name| Some(self.folder.path().join(name));
        settings::Tls { certificate: path("certificate.pem"), key: path("key.pem") }
    }

    /// Performs the handshake as a client that trusts this certificate only.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connect_with(stream, &[&TLS12, &TLS13], &["h2", "http/1.1"]).await
    }

    async fn connect_with(
        &self,
        stream: TcpStream,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from(NAME).unwrap(), stream).await
    }
}

/// Returns a certificate and its key in PEM.
fn generate(from: i32, to: i32) -> (String, String) {
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn load(certificate: &TestCertificate) -> Tls {
    let interval = Duration::from_millis(20);
    Tls::load_with(&certificate.settings(), Clock::system(), interval).unwrap().unwrap()
}

fn serve(timeouts: Timeouts, max_connections: usize, tls: Tls) -> TestServer {
    TestServer::start_with(timeouts, max_connections, true, Some(tls))
}

async fn tcp(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

#[actix_web::test]
async fn both_versions_and_only_http_1_are_spoken() {
    let certificate = TestCertificate::new();
    let server = serve(Timeouts::default(), 100, load(&certificate));
    for (version, spoken) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        for protocols in [&["h2", "http/1.1"][..], &[]] {
            let stream = tcp(&server).await;
            let stream = certificate.connect_with(stream, &[version], protocols).await.unwrap();
            let (_, connection) = stream.get_ref();
            assert_eq!(connection.protocol_version(), Some(spoken));
            let expected = (!protocols.is_empty()).then_some(&b"http/1.1"[..]);
            assert_eq!(connection.alpn_protocol(), expected);
            let mut client = Client::new(stream);
            client.send(GET).await;
            assert!(client.read_to("small").await.starts_with("HTTP/1.1 200"));
            client.send(&GET.replace("small", "scheme")).await;
            client.read_to("\r\n\r\nhttps").await;
        }
    }
    let refused = certificate.connect_with(tcp(&server).await, &[&TLS13], &["h2"]).await;
    assert!(refused.is_err());
    let stranger = TestCertificate::new();
    assert!(stranger.connect(tcp(&server).await).await.is_err());
}

#[actix_web::test]
async fn a_handshake_has_a_limit_of_time_and_a_place_among_the_connections() {
    let certificate = TestCertificate::new();
    let timeouts = Timeouts { handshake: Duration::from_millis(500), ..Timeouts::default() };
    let server = serve(timeouts, 100, load(&certificate));
    // Nothing, and the half of a record.
    for bytes in [&b""[..], &[22, 3, 1, 2, 0, 1, 0, 1]] {
        let mut client = Client::new(tcp(&server).await);
        client.0.write_all(bytes).await.unwrap();
        client.read_to_end().await;
    }
    let long = Timeouts { handshake: DEADLINE * 10, ..Timeouts::default() };
    let server = serve(long, 2, load(&certificate));
    let mut first = Client::new(tcp(&server).await);
    let mut others = Vec::new();
    // The third one takes the place of the first.
    for _ in 0..2 {
        let mut client = Client::new(certificate.connect(tcp(&server).await).await.unwrap());
        client.send(GET).await;
        client.read_to("small").await;
        others.push(client);
    }
    first.read_to_end().await;
    for client in &mut others {
        client.send(GET).await;
        client.read_to("small").await;
    }
}

#[actix_web::test]
async fn plain_http_is_told_to_use_https() {
    let certificate = TestCertificate::new();
    let server = serve(Timeouts::default(), 100, load(&certificate));
    for request in [GET, "POST /body HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n123456789"] {
        let mut client = Client::new(tcp(&server).await);
        client.send(request).await;
        let mut answer = String::new();
        let read = async {
            // The server waits for the end of the request.
            while !answer.ends_with('}') {
                let mut buffer = [0; 1024];
                let read = client.0.read(&mut buffer).await.unwrap();
                assert!(read > 0, "closed after {answer:?}");
                answer.push_str(str::from_utf8(&buffer[..read]).unwrap());
            }
        };
        tokio::time::timeout(DEADLINE, read).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("\r\ncontent-type: application/json\r\n"), "{answer}");
        assert!(answer.contains("\"code\":\"bad_request\"") && answer.contains("https://"));
    }
}

#[actix_web::test]
async fn a_certificate_is_replaced_without_closing_connections() {
    let mut certificate = TestCertificate::new();
    let tls = load(&certificate);
    let state = Arc::clone(&tls.state);
    let server = serve(Timeouts::default(), 100, tls);
    let mut open = Client::new(certificate.connect(tcp(&server).await).await.unwrap());
    open.send(GET).await;
    open.read_to("small").await;

    // Files that do not belong together, as between two writes, and files that clients would refuse.
    let (new, new_key) = generate(1975, 4096);
    let (expired, expired_key) = generate(1975, 2020);
    let problem = || state.checks.lock().unwrap().problem.clone().unwrap_or_default();
    for (chain, key, expected) in [
        (&*new, None, "is not the key of the first certificate"),
        (&*expired, Some(&*expired_key), "has expired on 2020-01-01 00:00:00 UTC"),
        ("", None, "has no certificate"),
    ] {
        certificate.write("certificate.pem", chain);
        key.inspect(|key| certificate.write("key.pem", key));
        eventually(expected, || problem().contains(expected)).await;
        assert!(certificate.connect(tcp(&server).await).await.is_ok(), "{expected}");
    }
    certificate.write("certificate.pem", &new);
    certificate.write("key.pem", &new_key);
    certificate.pem = new;
    eventually("the files are used", || problem().is_empty()).await;
    let mut client = Client::new(certificate.connect(tcp(&server).await).await.unwrap());
    for client in [&mut open, &mut client] {
        client.send(GET).await;
        client.read_to("small").await;
    }
    assert!(TestCertificate::new().connect(tcp(&server).await).await.is_err());
}

#[test]
fn each_file_that_cannot_be_used_is_named_with_the_reason() {
    let (other, _) = generate(1975, 4096);
    let (reversed, _) = generate(1975, 4096);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (setting, content, reason) in [
        ("certificate", None, "cannot be read"),
        ("certificate", Some(""), "has no certificate in PEM"),
        ("certificate", Some("-----BEGIN CERTIFICATE-----\n*\n"), "is no PEM file"),
        ("certificate", Some(garbage), "cannot be used"),
        ("key", None, "cannot be read"),
        ("key", Some("\n"), "has no private key in PEM"),
        ("key", Some(&other), "has no private key in PEM"),
        ("key", Some(encrypted), "is encrypted: decrypt it"),
        ("key", Some(legacy), "is encrypted: decrypt it"),
        ("key", Some(&*"x".repeat(2_000_000)), "is longer than"),
    ] {
        let certificate = TestCertificate::new();
        let file = certificate.folder.path().join(format!("{setting}.pem"));
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let line = Tls::load(&certificate.settings()).unwrap_err().to_string();
        let named = format!("wrong setting: `server.tls.{setting}`: {}", file.display());
        assert!(line.starts_with(&named) && line.contains(reason), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    // The chain begins with another certificate.
    let certificate = TestCertificate::new();
    certificate.write("certificate.pem", &format!("{reversed}{}", certificate.pem));
    let line = Tls::load(&certificate.settings()).unwrap_err().to_string();
    assert!(line.contains("key.pem is not the key of the first certificate in"), "{line}");
    for (from, to, reason) in
        [(1975, 2020, "has expired on 2020"), (4000, 4096, "is not valid before 4000")]
    {
        let line = Tls::load(&TestCertificate::valid(from, to).settings()).unwrap_err().to_string();
        assert!(line.contains(reason), "{line}");
    }
    let settings = TestCertificate::new().settings();
    for (half, missing) in [
        (settings::Tls { key: None, ..settings.clone() }, "key"),
        (settings::Tls { certificate: None, ..settings }, "certificate"),
    ] {
        let line = Tls::load(&half).unwrap_err().to_string();
        assert!(line.contains(&format!("`server.tls.{missing}` is missing")), "{line}");
    }
    assert!(Tls::load(&settings::Tls::default()).unwrap().is_none());
}

#[test]
fn an_end_of_the_certificate_is_announced_when_a_fifth_of_its_life_is_left() {
    let certificate = TestCertificate::valid(2020, 2030);
    let now = Arc::new(Mutex::new("2021-01-01T00:00:00Z".parse().unwrap()));
    let shown = Arc::clone(&now);
    let clock = Clock::of(move || Some(*shown.lock().unwrap()));
    let tls = Tls::load_with(&certificate.settings(), clock, CHECK_INTERVAL).unwrap().unwrap();
    for (date, is_warned) in [
        ("2021-01-01T00:00:00Z", false),
        ("2027-12-30T00:00:00Z", false),
        ("2028-01-03T00:00:00Z", true),
        ("2031-01-01T00:00:00Z", true),
    ] {
        *now.lock().unwrap() = date.parse().unwrap();
        tls.state.checks.lock().unwrap().warned_at = None;
        tls.state.check();
        assert_eq!(tls.state.checks.lock().unwrap().warned_at.is_some(), is_warned, "{date}");
        let remaining = tls.state.current().remaining(tls.state.clock.now());
        assert_eq!(remaining < TimeDelta::zero(), date.starts_with("2031"), "{date}");
    }
    // It is used even then: the files have no other one.
    assert!(tls.state.checks.lock().unwrap().problem.is_some());
}
