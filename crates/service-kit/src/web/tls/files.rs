//! The files of a certificate and its key.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use rustls::{
    CertificateError, Error, InconsistentKeys, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};

use crate::runtime::settings;

/// The largest file that is read, in bytes: a chain of certificates has some 5,000.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The certificate and the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Only one of the two files is configured.
    #[error(
        "wrong setting: `server.tls.{missing}` is missing: TLS needs a certificate and its key"
    )]
    Missing {
        /// The missing key of the settings.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("wrong setting: `server.tls.{setting}`: {} cannot be read: {source}", file.display())]
    Unreadable {
        /// The key of the settings.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file does not contain what it should.
    #[error("wrong setting: `server.tls.{setting}`: {} {reason}", file.display())]
    Invalid {
        /// The key of the settings.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// The reason.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be used")]
    Unusable(#[source] Error),
}

/// The files of the settings.
#[derive(Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// A certificate with its chain and key.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) not_before: DateTime<Utc>,
    pub(super) not_after: DateTime<Utc>,
    /// The content of the file with the key, to notice another one.
    pem: Arc<[u8]>,
}

impl Files {
    /// Returns the files of the settings, or `None` if there are none.
    pub(super) fn of(settings: &settings::Tls) -> Result<Option<Self>, TlsError> {
        match (&settings.certificate, &settings.key) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(TlsError::Missing { missing: "key" }),
            (None, Some(_)) => Err(TlsError::Missing { missing: "certificate" }),
            (Some(certificate), Some(key)) => {
                Ok(Some(Self { certificate: certificate.clone(), key: key.clone() }))
            }
        }
    }

    /// Reads both files. Fails unless clients would accept the certificate at this time.
    pub(super) fn read(&self, now: DateTime<Utc>) -> Result<Certificate, TlsError> {
        let chain = read("certificate", &self.certificate)?;
        let pem = read("key", &self.key)?;
        let chain = self.chain(&chain)?;
        let (not_before, not_after) = self.validity(&chain, now)?;
        let key = self.private_key(&pem)?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider());
        let key = key.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => self.wrong_key(format!(
                "is not the key of the first certificate in {}",
                self.certificate.display()
            )),
            error => self.wrong_key(format!("cannot be used: {error}")),
        })?;
        Ok(Certificate { key: Arc::new(key), not_before, not_after, pem: pem.into() })
    }

    fn chain(&self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain =
            chain.map_err(|error| self.wrong_certificate(format!("is no PEM file: {error}")))?;
        if chain.is_empty() {
            return Err(self.wrong_certificate("has no certificate in PEM"));
        }
        Ok(chain)
    }

    fn private_key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
        // `BEGIN ENCRYPTED PRIVATE KEY` (RFC 7468 §11), or `Proc-Type: 4,ENCRYPTED` (RFC 1421 §4.6).
        if pem.windows(9).any(|word| word == b"ENCRYPTED") {
            let reason = "is encrypted: decrypt it with `openssl pkey -in FILE -out FILE`";
            return Err(self.wrong_key(reason));
        }
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                self.wrong_key("has no private key in PEM")
            }
            error => self.wrong_key(format!("is no PEM file: {error}")),
        })
    }

    /// Returns the times between which the certificate of the server is valid.
    fn validity(
        &self,
        chain: &[CertificateDer<'_>],
        now: DateTime<Utc>,
    ) -> Result<(DateTime<Utc>, DateTime<Utc>), TlsError> {
        let parsed = chain.first().ok_or(Error::NoCertificatesPresented);
        let parsed = parsed.and_then(ParsedCertificate::try_from);
        let parsed =
            parsed.map_err(|error| self.wrong_certificate(format!("cannot be used: {error}")))?;
        let not_before = match verify(&parsed, 0) {
            Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before, ..
            }) => not_before,
            _ => UnixTime::since_unix_epoch(Duration::ZERO),
        };
        let not_after = match verify(&parsed, u64::MAX) {
            Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
                not_after
            }
            error => return Err(self.wrong_certificate(format!("cannot be used: {error}"))),
        };
        let [not_before, not_after] = [not_before, not_after].map(date);
        if now > not_after {
            let reason = format!("has expired on {not_after}: renew it");
            return Err(self.wrong_certificate(reason));
        }
        if now < not_before {
            let reason =
                format!("is not valid before {not_before}: check the clock of this machine");
            return Err(self.wrong_certificate(reason));
        }
        Ok((not_before, not_after))
    }

    fn wrong_certificate(&self, reason: impl Into<String>) -> TlsError {
        let file = self.certificate.clone();
        TlsError::Invalid { setting: "certificate", file, reason: reason.into() }
    }

    fn wrong_key(&self, reason: impl Into<String>) -> TlsError {
        TlsError::Invalid { setting: "key", file: self.key.clone(), reason: reason.into() }
    }
}

impl Certificate {
    pub(super) fn is_other_than(&self, other: &Self) -> bool {
        self.pem != other.pem || self.key.cert != other.key.cert
    }
}

/// Returns the error of a verification without trust anchors at a time, in seconds since 1970. Such a
/// verification checks the validity first, and its errors are the way to learn it from rustls.
fn verify(certificate: &ParsedCertificate<'_>, at: u64) -> Error {
    let verified = verify_server_cert_signed_by_trust_anchor(
        certificate,
        &RootCertStore::empty(),
        &[],
        UnixTime::since_unix_epoch(Duration::from_secs(at)),
        ring::default_provider().signature_verification_algorithms.all,
    );
    verified.err().unwrap_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

/// Returns the date. The latest that certificates can have is the end of the year 9999.
fn date(time: UnixTime) -> DateTime<Utc> {
    let seconds = i64::try_from(time.as_secs()).ok();
    let date = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    date.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    let mut content = Vec::new();
    let read = fs::File::open(file)
        .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut content));
    let read = read.and_then(|_| match content.len() as u64 > MAX_FILE_BYTES {
        true => Err(io::Error::other(format!("it is longer than {MAX_FILE_BYTES} bytes"))),
        false => Ok(content),
    });
    read.map_err(|source| TlsError::Unreadable { setting, file: file.to_owned(), source })
}
