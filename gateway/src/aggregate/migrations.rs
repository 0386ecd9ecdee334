//! The progress of a service's migrations, combined from the readiness of its replicas.

use serde_json::{Map, Value, json};

/// Returns the number of applied migrations, and the state of the others. Returns `None` if no replica
/// reports any.
///
/// One replica migrates at a time, and the reports of the others may be older: the most advanced
/// report of each migration counts.
pub(crate) fn summary<'a>(details: impl Iterator<Item = &'a Value>) -> Option<Value> {
    let lists = details.filter_map(|of| of["checks"]["migrations"]["migrations"].as_array());
    let mut most_advanced = Map::new();
    for migration in lists.flatten() {
        let Some(id) = migration["id"].as_str() else { continue };
        let seen = most_advanced.entry(id).or_insert_with(|| migration.clone());
        if progress(migration) > progress(seen) {
            seen.clone_from(migration);
        }
    }
    let total = most_advanced.len();
    let migrations = most_advanced.into_iter().map(|(_, migration)| migration);
    let open: Vec<_> = migrations.filter(|migration| migration["state"] != "applied").collect();
    (total > 0).then(|| json!({ "applied": total - open.len(), "total": total, "open": open }))
}

/// Returns the progress of a migration, to compare reports: its state, then its documents.
fn progress(migration: &Value) -> (u8, i64) {
    let state = match migration["state"].as_str() {
        Some("applied") => 4,
        Some("running" | "verifying" | "rolling_back") => 3,
        Some("paused" | "failed_fatal" | "rolled_back") => 2,
        Some("waiting_dependency" | "failed_retryable") => 1,
        _ => 0,
    };
    (state, migration["modified"].as_i64().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(migrations: &Value) -> Value {
        json!({ "checks": { "migrations": { "status": "ok", "migrations": migrations } } })
    }

    #[test]
    fn the_most_advanced_report_of_each_migration_counts() {
        let idle = replica(&json!([
            { "id": "0001", "state": "applied" },
            { "id": "0002", "state": "pending" },
            { "id": "0003", "state": "waiting_dependency" },
        ]));
        let busy = replica(&json!([
            { "id": "0001", "state": "applied" },
            { "id": "0002", "state": "running", "modified": 10, "total": 90 },
            { "id": "0003", "state": "pending" },
        ]));
        for replicas in [[&idle, &busy], [&busy, &idle]] {
            let summary = summary(replicas.into_iter()).unwrap();
            assert_eq!(
                summary,
                json!({ "applied": 1, "total": 3, "open": [
                    { "id": "0002", "state": "running", "modified": 10, "total": 90 },
                    { "id": "0003", "state": "waiting_dependency" },
                ] })
            );
        }
    }

    #[test]
    fn of_two_running_reports_the_one_with_more_documents_counts() {
        let running = |modified| {
            replica(&json!([{ "id": "0001", "state": "running", "modified": modified }]))
        };
        let (stale, fresh) = (running(10), running(20));
        let summary = summary([&fresh, &stale].into_iter()).unwrap();
        assert_eq!(summary["open"][0]["modified"], 20);
    }

    #[test]
    fn there_is_no_summary_if_no_replica_reports_a_migration() {
        assert_eq!(summary([&Value::Null, &json!({})].into_iter()), None);
        assert_eq!(summary([&replica(&json!("odd"))].into_iter()), None);
    }
}
