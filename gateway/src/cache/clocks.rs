//! The changes of both services, and what an answer depends on.

use std::{sync::Arc, time::Instant};

use models::changes::{Revision, key_family};
use service_kit::web::changes::{Generation, KeyClock, Keys, Revisions};

/// The changes of the services, each on a clock of its own.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    pub(crate) content: Arc<KeyClock>,
    pub(crate) sections: Arc<KeyClock>,
}

/// The generations of the clocks, taken before a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generations {
    content: Generation,
    sections: Generation,
}

/// The content of each service that an answer depends on, and the states at which it was computed.
#[derive(Debug, Clone)]
pub(crate) struct Dependencies {
    content: Option<(Keys, Revision)>,
    sections: Option<(Keys, Revision)>,
}

/// The knowledge about an answer that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Currency {
    /// It is true.
    Current,
    /// It was true, and no change is known, but one might not have been heard.
    Unconfirmed,
    /// Something that it depends on has changed since.
    Changed,
}

impl Clocks {
    pub(crate) fn generations(&self) -> Generations {
        let (content, sections) = (self.content.generation(), self.sections.generation());
        Generations { content, sections }
    }

    /// Returns the states of the newest changes that are known.
    pub(crate) fn newest_changes(&self) -> Revisions {
        let (content, sections) = (self.content.newest_change(), self.sections.newest_change());
        Revisions { content, sections }
    }

    /// Returns `true` if the changes of both services are heard.
    pub(crate) fn are_live(&self, now: Instant) -> bool {
        self.content.is_live_at(now) && self.sections.is_live_at(now)
    }

    /// Returns the content with these keys at these revisions. Returns `None` if there are no keys, or
    /// if a change of one of them would not be known.
    pub(crate) fn dependencies(
        &self,
        generations: Generations,
        keys: &str,
        revisions: Revisions,
    ) -> Option<Dependencies> {
        let mut of_content = Vec::new();
        let mut of_sections = Vec::new();
        for key in keys.split_ascii_whitespace() {
            // A family that neither clock knows is refused below.
            let is_of_sections = self.sections.has_family(key_family(key));
            if is_of_sections { &mut of_sections } else { &mut of_content }.push(key);
        }
        let of = |clock: &KeyClock, generation, keys: Vec<&str>, revision: Option<Revision>| {
            if keys.is_empty() {
                return Some(None);
            }
            Some(Some((clock.keys(generation, keys)?, revision?)))
        };
        let content = of(&self.content, generations.content, of_content, revisions.content)?;
        let sections = of(&self.sections, generations.sections, of_sections, revisions.sections)?;
        (content.is_some() || sections.is_some()).then_some(Dependencies { content, sections })
    }

    /// Records the keys that a write changed.
    pub(crate) fn raise(&self, keys: &str, revisions: Revisions) {
        for (clock, revision) in
            [(&self.content, revisions.content), (&self.sections, revisions.sections)]
        {
            if let Some(revision) = revision {
                let keys = keys.split_ascii_whitespace();
                clock.raise(keys.filter(|key| clock.has_family(key_family(key))), revision);
            }
        }
    }

    /// Records a write whose outcome is unknown: anything that paths with this first segment show may
    /// have changed.
    pub(crate) fn raise_unknown(&self, is_of_sections: bool, segment: &str) {
        let clock = if is_of_sections { &self.sections } else { &self.content };
        let family = [segment];
        let is_family = clock.has_family(segment);
        clock.raise_families(is_family.then_some(&family[..]));
    }
}

impl Dependencies {
    /// Returns the memory that they take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let both = [&self.content, &self.sections];
        both.into_iter().flatten().map(|(keys, _)| keys.bytes()).sum()
    }

    /// Returns the currency of what depends on them.
    pub(crate) fn currency(&self, clocks: &Clocks, now: Instant) -> Currency {
        let both = [(&self.content, &clocks.content), (&self.sections, &clocks.sections)];
        let mut currency = Currency::Current;
        for (dependency, clock) in both {
            if let Some((keys, revision)) = dependency {
                // In this order: what was not heard before the lease ended is not current.
                let is_live = clock.is_live_at(now);
                if !clock.is_current(keys, *revision) {
                    return Currency::Changed;
                }
                if !is_live {
                    currency = Currency::Unconfirmed;
                }
            }
        }
        currency
    }
}
