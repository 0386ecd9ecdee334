//! The IP addresses of the names in the addresses of a service.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};

use super::{Upstream, replica};
use crate::{
    runtime::settings::url::{HttpUrl, Replicas},
    web::http_client::CONNECT_TIMEOUT,
};

/// The time after which names are resolved again: short enough for a rolling update, in which a pod
/// drains for five seconds, and long enough for the name server.
const INTERVAL: Duration = Duration::from_secs(2);

/// The shortest time between two resolutions, if connections are refused.
const MIN_INTERVAL: Duration = Duration::from_millis(200);

/// A resolver of names.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// Returns the IP addresses of a name.
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    }
}

/// Returns the addresses that are IP addresses.
pub(super) fn literals(addresses: &Replicas) -> Vec<(HttpUrl, SocketAddr)> {
    let urls = addresses.urls().iter();
    urls.filter_map(|url| Some((url.clone(), SocketAddr::new(url.ip()?, url.port())))).collect()
}

impl Upstream {
    /// Starts to resolve names again and again, if there are any.
    pub(super) fn ensure_resolving(self: &Arc<Self>) {
        if !self.has_names.load(Ordering::Relaxed)
            || self.is_resolving.load(Ordering::Relaxed)
            || self.is_resolving.swap(true, Ordering::Relaxed)
        {
            return;
        }
        // The task ends when the service is dropped.
        let (upstream, resolve_now) = (Arc::downgrade(self), Arc::clone(&self.resolve_now));
        tokio::spawn(async move {
            while let Some(upstream) = upstream.upgrade() {
                upstream.refresh().await;
                drop(upstream);
                tokio::time::sleep(MIN_INTERVAL).await;
                let _ = tokio::time::timeout(INTERVAL, resolve_now.notified()).await;
            }
        });
    }

    /// Waits until names are looked up the next time, if there are any. All requests of that time share
    /// one look-up.
    pub(super) async fn await_addresses(&self) {
        let mut resolved = self.resolved.subscribe();
        if self.has_names.load(Ordering::Relaxed) && self.replicas.borrow().is_empty() {
            self.resolve_now.notify_one();
            let _ = tokio::time::timeout(CONNECT_TIMEOUT, resolved.changed()).await;
        }
    }

    /// Resolves all names. A name that cannot be resolved keeps its addresses.
    pub(super) async fn refresh(&self) {
        let addresses = self.addresses();
        let mut found = Vec::new();
        for url in addresses.urls() {
            let port = url.port();
            let ips = match url.ip() {
                Some(ip) => vec![ip],
                None => match self.look_up(url).await {
                    Some(ips) => ips,
                    None => self.known_ips(url),
                },
            };
            found.extend(ips.into_iter().map(|ip| (url.clone(), SocketAddr::new(ip, port))));
        }
        if self.addresses() == addresses {
            self.update(&found);
        }
        self.resolved.send_replace(());
    }

    /// Returns the IP addresses of a name in order, or `None` if there are none.
    async fn look_up(&self, url: &HttpUrl) -> Option<Vec<IpAddr>> {
        let (upstream, name) = (self.name, url.to_string());
        let lookup = self.options.resolver.resolve(url.host());
        match tokio::time::timeout(CONNECT_TIMEOUT, lookup).await {
            Ok(Ok(ips)) if !ips.is_empty() => {
                return Some(ips.into_iter().collect::<BTreeSet<_>>().into_iter().collect());
            }
            Ok(Ok(_)) => tracing::warn!(upstream, name, "the name has no address"),
            Ok(Err(cause)) => tracing::warn!(upstream, name, %cause, "the name cannot be resolved"),
            Err(_) => tracing::warn!(upstream, name, "the name server does not answer"),
        }
        None
    }

    fn known_ips(&self, url: &HttpUrl) -> Vec<IpAddr> {
        let replicas = self.replicas();
        let known = replicas.iter().filter(|replica| replica.configured() == url);
        known.map(|replica| replica.socket().ip()).collect()
    }

    /// Makes these the replicas. Those that stay keep their state.
    pub(super) fn update(&self, found: &[(HttpUrl, SocketAddr)]) {
        self.replicas.send_if_modified(|replicas| {
            let updated = replica::update(self.name, replicas, found);
            let is_same = updated.len() == replicas.len()
                && updated.iter().zip(replicas.iter()).all(|(new, old)| Arc::ptr_eq(new, old));
            if !is_same {
                let upstream = self.name;
                let all: Vec<_> = updated.iter().map(ToString::to_string).collect();
                tracing::debug!(upstream, replicas = all.join(", "), "replicas changed");
                *replicas = updated.into();
            }
            !is_same
        });
    }
}
