//! Showing how far long work has come: bars on a terminal, lines in the log elsewhere.

use std::{
    collections::HashMap,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use migrations::{State, Status};
use tokio::sync::watch;

/// How often a line is logged where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// A sign of life for work of unknown length. Shows nothing where there is no terminal.
pub(crate) fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(100));
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

/// Shows the progress of migrations until they are settled, failed or the watch ends.
pub(crate) async fn follow(services: &mut [(&'static str, watch::Receiver<Vec<Status>>)]) {
    let mut display = Display::new();
    for (service, statuses) in services {
        loop {
            let all = statuses.borrow_and_update().clone();
            display.show(service, &all);
            let is_over = all.iter().all(|status| status.is_settled)
                || all.iter().any(|status| status.state == State::FailedFatal);
            if is_over || statuses.changed().await.is_err() {
                break;
            }
        }
    }
    display.clear();
}

struct Display {
    bars: Option<MultiProgress>,
    running: HashMap<String, ProgressBar>,
    last_line: Option<Instant>,
}

impl Display {
    fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, running: HashMap::new(), last_line: None }
    }

    fn show(&mut self, service: &str, statuses: &[Status]) {
        for status in statuses {
            let id = format!("{service} {}", status.id);
            match (&self.bars, &status.progress) {
                (Some(bars), Some(progress)) => {
                    let total = progress.total.unsigned_abs();
                    let template = "{prefix} {msg:<40} {wide_bar} {pos}/{len} {per_sec} {eta}";
                    let bar = self
                        .running
                        .entry(format!("{id} {}", progress.what))
                        .or_insert_with(|| bars.add(bar(total, template).with_prefix(id)));
                    bar.set_length(total);
                    bar.set_message(progress.what.clone());
                    bar.set_position(progress.modified.unsigned_abs());
                }
                (None, Some(progress)) => {
                    if self.last_line.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) {
                        self.last_line = Some(Instant::now());
                        tracing::info!(
                            migration = id,
                            step = progress.what,
                            modified = progress.modified,
                            total = progress.total,
                            "progress"
                        );
                    }
                }
                (_, None) => {}
            }
        }
    }

    fn clear(&self) {
        if let Some(bars) = &self.bars {
            // Nothing is left on the screen where that fails.
            let _ = bars.clear();
        }
    }
}
