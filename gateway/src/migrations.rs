//! How far the migrations of a service are, summed up over what its replicas say in their
//! readiness.

use serde_json::{Map, Value, json};

/// How many migrations are applied, and what the others do; none where no replica says anything.
///
/// One replica migrates at a time, and the others may not have noticed: each migration is as far
/// as the replica says that is furthest.
pub(crate) fn summary<'a>(details: impl Iterator<Item = &'a Value>) -> Option<Value> {
    let lists = details.filter_map(|of| of["checks"]["migrations"]["migrations"].as_array());
    let mut furthest = Map::new();
    for migration in lists.flatten() {
        let Some(id) = migration["id"].as_str() else { continue };
        let seen = furthest.entry(id).or_insert_with(|| migration.clone());
        if place(migration) > place(seen) {
            seen.clone_from(migration);
        }
    }
    let total = furthest.len();
    let open: Vec<_> =
        furthest.into_iter().map(|(_, one)| one).filter(|one| one["state"] != "applied").collect();
    (total > 0).then(|| json!({ "applied": total - open.len(), "total": total, "open": open }))
}

/// How far a migration is, to compare what replicas say: its state, then its documents.
fn place(migration: &Value) -> (u8, i64) {
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
    fn each_migration_is_as_far_as_the_replica_that_is_furthest() {
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
    fn of_two_that_run_the_one_with_more_documents_counts() {
        let running = |modified| {
            replica(&json!([{ "id": "0001", "state": "running", "modified": modified }]))
        };
        let (stale, fresh) = (running(10), running(20));
        let summary = summary([&fresh, &stale].into_iter()).unwrap();
        assert_eq!(summary["open"][0]["modified"], 20);
    }

    #[test]
    fn where_no_replica_says_anything_there_is_nothing_to_say() {
        assert_eq!(summary([&Value::Null, &json!({})].into_iter()), None);
        assert_eq!(summary([&replica(&json!("odd"))].into_iter()), None);
    }
}
