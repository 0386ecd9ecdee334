//! The services behind the gateway.

use std::sync::Arc;

use service_kit::{
    runtime::settings,
    web::upstream::{Options, Resolve, Upstream},
};

/// The services behind the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams {
    pub(crate) sections: Arc<Upstream>,
    pub(crate) content: Arc<Upstream>,
    pub(crate) media: Arc<Upstream>,
    pub(crate) console: Arc<Upstream>,
}

impl Upstreams {
    pub(crate) fn new(settings: &settings::Upstreams, resolver: &Arc<dyn Resolve>) -> Self {
        let options = Options {
            max_retries: settings.max_retries,
            resolver: Arc::clone(resolver),
            ..Options::default()
        };
        let upstream = |name, addresses: &settings::url::Replicas| {
            Upstream::new(name, addresses.clone(), options.clone())
        };
        Self {
            sections: upstream("sections-service", &settings.sections),
            content: upstream("content-service", &settings.content),
            media: upstream("media-service", &settings.media),
            console: upstream("console", &settings.console),
        }
    }

    pub(crate) fn all(&self) -> [&Arc<Upstream>; 4] {
        [&self.sections, &self.content, &self.media, &self.console]
    }

    /// Returns the services without which there are no pages. Without the others the gateway is ready: a
    /// site without pictures is better than none.
    pub(crate) fn essential(&self) -> [&Arc<Upstream>; 2] {
        [&self.sections, &self.content]
    }
}
