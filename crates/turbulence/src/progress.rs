//! Showing how far long work has come: bars on a terminal, lines in the log elsewhere.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use migrations::{Progress, State, Status, ThrottledBy};
use service_kit::printable::printable;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::report;

/// How often a line is logged where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// How often a sign of life moves.
const TICK: Duration = Duration::from_millis(100);

/// A sign of life for work of unknown length, gone when it is dropped. Shows nothing where there is
/// no terminal.
pub(crate) fn spinner(message: impl Into<Cow<'static, str>>) -> ProgressBar {
    let message = printable(&message.into()).into_owned();
    let spinner = ProgressBar::new_spinner().with_message(message);
    let spinner = spinner.with_finish(ProgressFinish::AndClear);
    spinner.enable_steady_tick(TICK);
    spinner
}

/// A bar for bytes that are read.
pub(crate) fn bytes(what: &str, total: u64) -> ProgressBar {
    let template = "{msg:<32} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    bar(total, template).with_message(what.to_owned())
}

fn bar(total: u64, template: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_style(style)
}

/// Shows how far the migrations of a service are while `work` is done.
pub(crate) async fn beside<T>(
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
            done = &mut work => return done,
            Ok(()) = statuses.changed() => {}
            // A line is due although nothing moves.
            _ = ticks.tick() => {}
        }
    }
}

/// What is on the screen about the migrations of a service. Gone when it is dropped.
struct Display {
    bars: Option<MultiProgress>,
    /// By step.
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
        let running =
            statuses.iter().filter_map(|status| Some((status, status.progress.as_ref()?)));
        let Some(bars) = self.bars.clone() else {
            if self.last_line.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) {
                for (status, progress) in running {
                    self.last_line = Some(Instant::now());
                    log(service, status.id, progress);
                }
            }
            return;
        };
        let mut shown = HashMap::new();
        for (status, progress) in running {
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
            let message = format!("{}: {}", progress.step, report::speed(progress));
            bar.set_message(printable(&message).into_owned());
            shown.insert(key, bar);
        }
        // What is not among them any more is over.
        for bar in std::mem::replace(&mut self.running, shown).into_values() {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
        match waits(service, statuses) {
            Some(message) => {
                let spinner = self.waiting.get_or_insert_with(|| bars.add(spinner("")));
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
        if let Some(bars) = &self.bars {
            // Something is left on the screen where that fails.
            let _ = bars.clear();
        }
    }
}

/// What happens that has no documents to count, or why nothing happens.
fn waits(service: &str, statuses: &[Status]) -> Option<String> {
    let words = |status: &Status| match (status.state, &status.message) {
        (_, Some(message)) => Some(message.clone()),
        (State::Running, None) => Some("running".to_owned()),
        (State::Verifying, None) => Some("checking the data".to_owned()),
        (State::RollingBack, None) => Some("rolling back".to_owned()),
        _ => None,
    };
    let line = |status: &Status| Some(format!("{service} {}: {}", status.id, words(status)?));
    match statuses.iter().find(|status| status.progress.is_some()) {
        // A bar says the rest: there is a message where it is the bar of another process.
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
        throttled_by = progress.throttled_by.map(throttle),
        "progress"
    );
}

/// As the ledger and reports in JSON call it.
const fn throttle(by: ThrottledBy) -> &'static str {
    match by {
        ThrottledBy::RateLimit => "rate_limit",
        ThrottledBy::DutyCycle => "duty_cycle",
        ThrottledBy::FlowControl => "flow_control",
        ThrottledBy::Replication => "replication",
    }
}
