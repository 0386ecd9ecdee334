//! The progress of long work: bars on a terminal, log lines elsewhere.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use migrations::{Progress, State, Status, ThrottledBy};
use service_kit::runtime::printable::printable;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::render;

/// Interval between log lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Interval between two frames of a spinner.
const TICK: Duration = Duration::from_millis(100);

/// Shows a spinner for work of unknown length until it is dropped. Without a terminal it shows
/// nothing.
pub(crate) fn spinner(message: impl Into<Cow<'static, str>>) -> ProgressBar {
    let message = printable(&message.into()).into_owned();
    let spinner = still_spinner().with_message(message);
    spinner.enable_steady_tick(TICK);
    spinner
}

/// Returns a spinner that is not drawn yet.
fn still_spinner() -> ProgressBar {
    ProgressBar::new_spinner().with_finish(ProgressFinish::AndClear)
}

/// Shows a bar for bytes that are read.
pub(crate) fn bytes(what: &str, total: u64) -> ProgressBar {
    let template = "{msg:<32} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    bar(total, template).with_message(what.to_owned()).with_finish(ProgressFinish::AndClear)
}

/// Shows a bar for documents.
pub(crate) fn documents(what: &str, total: u64) -> ProgressBar {
    let template = "{msg:<32} {wide_bar} {human_pos}/{human_len} {eta}";
    bar(total, template).with_message(what.to_owned()).with_finish(ProgressFinish::AndClear)
}

/// Shows a bar for the download of MongoDB once its length is known.
pub(crate) fn download() -> ProgressBar {
    bytes("Downloading MongoDB, once", 0)
}

fn bar(total: u64, template: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_style(style)
}

/// Shows the progress of the migrations of a service while `work` runs, and returns its result.
pub(crate) async fn show_while<T>(
    service: &str,
    mut statuses: watch::Receiver<Vec<Status>>,
    work: impl Future<Output = T>,
) -> T {
    let mut display = Display::new();
    let mut ticks = interval(LINE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(work);
    loop {
        let all = statuses.borrow_and_update().clone();
        display.show(service, &all);
        tokio::select! {
            result = &mut work => return result,
            Ok(()) = statuses.changed() => {}
            // Log lines are also written while nothing changes.
            _ = ticks.tick() => {}
        }
    }
}

/// The display of the migrations of a service. Dropping it clears the screen.
struct Display {
    /// `None` if there is no terminal.
    bars: Option<MultiProgress>,
    /// The bar of each running step.
    running: HashMap<String, ProgressBar>,
    waiting: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Display {
    fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, running: HashMap::new(), waiting: None, last_line: None }
    }

    fn show(&mut self, service: &str, statuses: &[Status]) {
        match self.bars.clone() {
            Some(bars) => {
                self.show_running(&bars, service, statuses);
                self.show_waiting(&bars, service, statuses);
            }
            None if self.last_line.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) => {
                for (status, progress) in running(statuses) {
                    self.last_line = Some(Instant::now());
                    log(service, status.id, progress);
                }
            }
            None => {}
        }
    }

    fn show_running(&mut self, bars: &MultiProgress, service: &str, statuses: &[Status]) {
        let mut shown = HashMap::new();
        for (status, progress) in running(statuses) {
            let key = format!("{service} {} {}", status.id, progress.step);
            let bar = self.running.remove(&key).unwrap_or_else(|| {
                let template = "{prefix} {wide_bar} {human_pos}/{human_len}\n    {msg}";
                let prefix = format!("{service} {}", status.id);
                bars.add(bar(0, template).with_prefix(prefix))
            });
            match progress.total {
                0 => bar.unset_length(),
                total => bar.set_length(total.unsigned_abs()),
            }
            bar.set_position((progress.modified + progress.failed).unsigned_abs());
            let message = format!("{}: {}", progress.step, render::speed(progress));
            bar.set_message(printable(&message).into_owned());
            shown.insert(key, bar);
        }
        // The remaining bars belong to steps that have ended.
        for bar in std::mem::replace(&mut self.running, shown).into_values() {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
    }

    fn show_waiting(&mut self, bars: &MultiProgress, service: &str, statuses: &[Status]) {
        match activity(service, statuses) {
            Some(message) => {
                let spinner = self.waiting.get_or_insert_with(|| {
                    // It is drawn only as one of the bars, which are cleared together.
                    let spinner = bars.add(still_spinner());
                    spinner.enable_steady_tick(TICK);
                    spinner
                });
                spinner.set_message(printable(&message).into_owned());
            }
            None => {
                if let Some(spinner) = self.waiting.take() {
                    spinner.finish_and_clear();
                    bars.remove(&spinner);
                }
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // Otherwise they would draw another frame.
        for bar in self.running.drain().map(|(_, bar)| bar).chain(self.waiting.take()) {
            bar.finish_and_clear();
        }
        if let Some(bars) = &self.bars {
            // If this fails, the bars remain on the screen.
            let _ = bars.clear();
        }
    }
}

/// Returns the migrations that count documents at the moment.
fn running(statuses: &[Status]) -> impl Iterator<Item = (&Status, &Progress)> {
    statuses.iter().filter_map(|status| Some((status, status.progress.as_ref()?)))
}

/// Describes work that counts no documents, or the reason why a migration waits.
fn activity(service: &str, statuses: &[Status]) -> Option<String> {
    let describe = |status: &Status| match (status.state, &status.message) {
        (_, Some(message)) => Some(message.clone()),
        (State::Running, None) => Some("running".to_owned()),
        (State::Verifying, None) => Some("checking the data".to_owned()),
        (State::RollingBack, None) => Some("rolling back".to_owned()),
        _ => None,
    };
    let line = |status: &Status| Some(format!("{service} {}: {}", status.id, describe(status)?));
    match statuses.iter().find(|status| status.progress.is_some()) {
        // A bar shows the rest. It has a message if it belongs to another process.
        Some(status) => status.message.as_ref().and_then(|_| line(status)),
        None => statuses.iter().filter(|status| !status.is_settled).find_map(line),
    }
}

fn log(service: &str, migration: &str, progress: &Progress) {
    tracing::info!(
        service,
        migration,
        step = progress.step.as_str(),
        modified = progress.modified,
        total = progress.total,
        rate = progress.rate.round(),
        eta_seconds = progress.eta_seconds().map(f64::round),
        throttled_by = progress.throttled_by.map(throttle_name),
        "progress"
    );
}

/// Returns the name of a throttle in the ledger and in JSON.
const fn throttle_name(by: ThrottledBy) -> &'static str {
    match by {
        ThrottledBy::RateLimit => "rate_limit",
        ThrottledBy::DutyCycle => "duty_cycle",
        ThrottledBy::FlowControl => "flow_control",
        ThrottledBy::Replication => "replication",
    }
}
