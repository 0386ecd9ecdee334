//! Redirects of a CSV file.

use std::collections::HashMap;

use actix_web::HttpResponse;
use data_service::changes::Answer;
use models::FieldError;
use serde::Serialize;
use service_kit::web::error::ApiError;
use utoipa::ToSchema;

use super::redirects::{Redirecting, Refusal};
use crate::{
    domain::{
        redirect::RedirectCreate,
        redirect_csv::{CsvLine, parse},
    },
    store::redirects::{Put, all_redirects},
};

/// The outcome of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LineOutcome {
    /// The redirect is new.
    Created,
    /// The redirect has replaced another one of the same path.
    Changed,
    /// The redirect was there.
    Unchanged,
    /// The line is wrong, or its redirect cannot be.
    Refused,
}

/// A line of a CSV file, and what became of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ImportedLine {
    /// The number of the line, the first being 1.
    line: u64,
    /// The old path; as it was written, if the line was refused.
    from: String,
    /// The outcome.
    outcome: LineOutcome,
    /// The reasons for which it was refused.
    errors: Vec<FieldError>,
}

/// The outcome of a CSV file.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct RedirectImport {
    /// The number of new redirects.
    created: u64,
    /// The number of redirects that have replaced others.
    changed: u64,
    /// The number of redirects that were there.
    unchanged: u64,
    /// The number of lines that were refused.
    refused: u64,
    /// The lines in their order, without the first one and empty ones.
    lines: Vec<ImportedLine>,
}

impl RedirectImport {
    fn add(&mut self, line: u64, from: String, outcome: Result<LineOutcome, Vec<FieldError>>) {
        let (outcome, errors) = match outcome {
            Ok(outcome) => (outcome, Vec::new()),
            Err(errors) => (LineOutcome::Refused, errors),
        };
        *match outcome {
            LineOutcome::Created => &mut self.created,
            LineOutcome::Changed => &mut self.changed,
            LineOutcome::Unchanged => &mut self.unchanged,
            LineOutcome::Refused => &mut self.refused,
        } += 1;
        self.lines.push(ImportedLine { line, from, outcome, errors });
    }
}

/// Adds the redirects of a CSV file, line by line: a wrong line does not keep the others from being added.
pub(super) async fn import(
    redirecting: &Redirecting,
    text: &str,
    may_replace: bool,
    answer: &Answer,
) -> Result<HttpResponse, ApiError> {
    let invalid = |message: String| ApiError::invalid(FieldError::invalid("body", message));
    let lines = parse(text).map_err(|error| invalid(error.to_string()))?;
    let mut import = RedirectImport::default();
    let mut checked = Vec::new();
    let mut numbers: HashMap<String, (u64, RedirectCreate)> = HashMap::new();
    for CsvLine { number, from, redirect } in lines {
        let redirect = match redirect {
            Ok(redirect) => redirect,
            Err(errors) => {
                import.add(number, from, Err(errors));
                continue;
            }
        };
        let earlier = numbers
            .entry(redirect.from.as_str().to_owned())
            .or_insert_with(|| (number, redirect.clone()));
        if earlier.1 != redirect {
            let message = format!("line {} leads the same path elsewhere", earlier.0);
            import.add(number, from, Err(vec![FieldError::invalid("from", message)]));
            continue;
        }
        match redirecting.check(&redirect).await? {
            Ok(()) => checked.push((number, from, redirect)),
            Err(refusal) => import.add(number, from, Err(reason(refusal))),
        }
    }
    answer.add_keys([all_redirects()]);
    let redirects: Vec<_> = checked.iter().map(|(_, _, redirect)| redirect.clone()).collect();
    let results = redirecting.put(&redirects, may_replace).await?;
    for ((number, from, redirect), result) in checked.into_iter().zip(results) {
        let outcome = match result {
            Ok(Put::Created(_)) => Ok(LineOutcome::Created),
            Ok(Put::Changed(_)) => Ok(LineOutcome::Changed),
            Ok(Put::Unchanged(_)) => Ok(LineOutcome::Unchanged),
            Err(refusal) => Err(reason(refusal)),
        };
        let from = if outcome.is_ok() { redirect.from.into() } else { from };
        import.add(number, from, outcome);
    }
    import.lines.sort_by_key(|line| line.line);
    Ok(HttpResponse::Ok().json(import))
}

/// Returns the reason for which a redirect is refused, as the error of a field.
fn reason(refusal: Refusal) -> Vec<FieldError> {
    vec![match refusal {
        Refusal::Wrong(error) => error,
        Refusal::Conflict(detail) => FieldError::invalid("from", detail),
    }]
}
