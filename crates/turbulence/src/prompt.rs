//! Questions to a person at a terminal.

use std::io::{self, IsTerminal};

use tokio_util::sync::CancellationToken;

use crate::{error::Error, lines::Lines};

/// Returns `true` if a person can be asked.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Prints a text and asks a question, which has to be answered with yes. Returns `false` without a
/// terminal.
pub(crate) async fn is_confirmed(
    text: &Lines,
    question: &'static str,
    shutdown: &CancellationToken,
) -> Result<bool, Error> {
    if !is_possible() {
        return Ok(false);
    }
    text.print_question(question);
    let mut line = String::new();
    let reading =
        tokio::task::spawn_blocking(move || io::stdin().read_line(&mut line).map(|_| line));
    let answer = tokio::select! {
        answer = reading => answer,
        () = shutdown.cancelled() => return Err(Error::Interrupted),
    };
    let answer = answer.ok().and_then(Result::ok).unwrap_or_default();
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
