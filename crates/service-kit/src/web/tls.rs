//! TLS of the server: the certificate and its key, and their replacement while the server runs.
//!
//! New connections get the certificate that the files had at the last check; open ones keep theirs. If
//! the files cannot be used, for example because one of them is not written yet, the server keeps what
//! it has.

mod files;
mod handshake;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry::global;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

pub use files::TlsError;
use files::{Certificate, Files};

use crate::runtime::{clock::Clock, settings};

/// The time between two checks of the files. Programs that renew certificates do it days before the end.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The time between two warnings that the certificate ends.
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The part of its lifetime that a certificate has left when the warnings begin. Programs that renew
/// certificates do it when a third is left.
const WARNING_SHARE: i32 = 5;

/// TLS of a server.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    state: Arc<State>,
}

/// The certificate in use.
#[derive(Debug)]
struct State {
    files: Files,
    clock: Clock,
    check_interval: Duration,
    current: RwLock<Certificate>,
    checks: Mutex<Checks>,
}

/// The results of the checks of the files.
#[derive(Debug, Default)]
struct Checks {
    /// The reason why the files cannot be used, to log each reason once.
    problem: Option<String>,
    warned_at: Option<Instant>,
}

impl Tls {
    /// Reads the certificate and the key of the settings. Returns `None` if there are none.
    pub fn load(settings: &settings::Tls) -> Result<Option<Self>, TlsError> {
        Self::load_with(settings, Clock::system(), CHECK_INTERVAL)
    }

    fn load_with(
        settings: &settings::Tls,
        clock: Clock,
        check_interval: Duration,
    ) -> Result<Option<Self>, TlsError> {
        let Some(files) = Files::of(settings)? else { return Ok(None) };
        let current = RwLock::new(files.read(clock.now())?);
        let checks = Mutex::default();
        let state = Arc::new(State { files, clock, check_interval, current, checks });
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&state) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        report(&state);
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(config)), state }))
    }

    /// Replaces the certificate whenever the files have another one.
    pub(crate) async fn keep_current(&self) -> ! {
        loop {
            let state = Arc::clone(&self.state);
            // Reading a file can take a while.
            let checked = tokio::task::spawn_blocking(move || state.check()).await;
            if checked.is_err() {
                tracing::error!("the check of the certificate panicked");
            }
            tokio::time::sleep(self.state.check_interval).await;
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.state.files).finish_non_exhaustive()
    }
}

impl State {
    fn check(&self) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        match self.files.read(now) {
            Ok(certificate) => {
                checks.problem = None;
                if certificate.is_other_than(&self.current()) {
                    let expires = certificate.not_after.to_rfc3339();
                    tracing::info!(expires, "the certificate was replaced");
                    checks.warned_at = None;
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = certificate;
                }
            }
            Err(error) => {
                let problem = error.to_string();
                if checks.problem.as_ref() != Some(&problem) {
                    tracing::error!(
                        problem,
                        "the certificate was not replaced: correct the files, the server uses the one \
                         that it has"
                    );
                }
                checks.problem = Some(problem);
            }
        }
        self.warn_of_the_end(&mut checks, now);
    }

    fn warn_of_the_end(&self, checks: &mut Checks, now: DateTime<Utc>) {
        let current = self.current();
        let is_warned = checks.warned_at.is_some_and(|at| at.elapsed() < WARNING_INTERVAL);
        if is_warned || !current.is_about_to_end(now) {
            return;
        }
        checks.warned_at = Some(Instant::now());
        let expires = current.not_after.to_rfc3339();
        if current.remaining(now) < TimeDelta::zero() {
            tracing::error!(expires, "the certificate has expired: clients refuse to connect");
        } else {
            tracing::warn!(expires, "the certificate expires soon: renew it");
        }
    }

    fn current(&self) -> Certificate {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for State {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key)
    }
}

impl Certificate {
    fn remaining(&self, now: DateTime<Utc>) -> TimeDelta {
        self.not_after - now
    }

    fn is_about_to_end(&self, now: DateTime<Utc>) -> bool {
        self.remaining(now) < (self.not_after - self.not_before) / WARNING_SHARE
    }
}

/// Reports the state of the certificate as metrics, until it is dropped.
fn report(state: &Arc<State>) {
    let meter = global::meter("service-kit");
    let state: Weak<State> = Arc::downgrade(state);
    let of_certificate = state.clone();
    meter
        .f64_observable_gauge("turbulence.tls.certificate.remaining")
        .with_unit("s")
        .with_description("The time until the certificate expires")
        .with_callback(move |remaining| {
            if let Some(state) = of_certificate.upgrade() {
                let left = state.current().remaining(state.clock.now());
                remaining.observe(left.as_seconds_f64(), &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("turbulence.tls.certificate.unusable")
        .with_description("1 if the files of the certificate cannot be used, and 0 otherwise")
        .with_callback(move |unusable| {
            if let Some(state) = state.upgrade() {
                let checks = state.checks.lock().unwrap_or_else(PoisonError::into_inner);
                unusable.observe(checks.problem.is_some().into(), &[]);
            }
        })
        .build();
}
