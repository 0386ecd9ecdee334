//! Faults that the migrations and the services survive: the real program as processes, on real
//! MongoDBs, with real signals. `docs/reference/faults.md` has the table that this prints.
//!
//! A test returns a [`Tally`]: the number of rounds, of lost and of duplicate changes, and the requests
//! that clients sent during the fault ([`traffic`]). It fails if anything was lost or doubled, or if the
//! requests exceed the limit of the fault. To add a fault, write a test that returns its tally, and add a
//! `fault!` with its limit to the list.
//! `TURBULENCE_FAULT_ROUNDS=5` has each fault happen five times as often, at other places.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod accounts;
mod clocks;
mod cluster;
mod databases;
mod documents;
mod kills;
mod ledgers;
#[path = "../it/legacy.rs"]
mod legacy;
mod load;
mod networks;
mod overload;
mod primaries;
mod replicas;
mod sections;
mod servers;
mod sites;
mod starts;
mod stops;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
mod traffic;
mod upgrade;
mod writers;

use std::{
    collections::BTreeMap,
    io::Write,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use futures_util::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};

use accounts::Tally;
use traffic::Limit;

/// A way in which something goes wrong, and the test that it is survived.
pub(crate) struct Fault {
    /// Its number in the specification.
    number: u32,
    /// The rule that the test is for.
    rule: &'static str,
    /// The description of the fault in the table.
    happens: &'static str,
    /// The limit for the requests of clients during the fault.
    limit: Limit,
    /// `true` if no other test may run at the same time, because it measures.
    is_alone: bool,
    /// `true` if the test needs the program of an earlier version.
    needs_earlier_program: bool,
    test: fn() -> LocalBoxFuture<'static, Tally>,
}

impl Fault {
    /// The same fault, whose test is ignored without the program of an earlier version.
    fn with_earlier_program(self) -> Self {
        Self { needs_earlier_program: true, ..self }
    }

    /// The same fault, whose test measures and so runs alone, after the others.
    fn alone(self) -> Self {
        Self { is_alone: true, ..self }
    }
}

/// A numbered fault, with the name of its test, its description in the table, and the limit for the
/// requests of clients if the test sends any.
macro_rules! fault {
    ($number:literal, $module:ident::$rule:ident, $happens:literal) => {
        fault!($number, $module::$rule, $happens, Limit::NO_REQUESTS)
    };
    ($number:literal, $module:ident::$rule:ident, $happens:literal, $limit:expr) => {
        Fault {
            limit: $limit,
            is_alone: false,
            needs_earlier_program: false,
            number: $number,
            rule: stringify!($rule),
            happens: $happens,
            test: || Box::pin($module::$rule()),
        }
    };
}

/// All of them, those first that take longest.
fn faults() -> Vec<Fault> {
    vec![
        fault!(
            1,
            kills::killed_before_the_write_it_resumes_at_the_cursor,
            "kill -9 before the write"
        ),
        fault!(
            1,
            kills::killed_before_the_commit_it_resumes_at_the_cursor,
            "kill -9 before the commit"
        ),
        fault!(
            1,
            kills::killed_after_the_commit_it_resumes_at_the_cursor,
            "kill -9 after the commit"
        ),
        fault!(1, kills::killed_before_applied_it_is_verified_again, "kill -9 before `applied`"),
        fault!(
            1,
            kills::killed_before_an_index_is_built_it_is_built_once,
            "kill -9 before an index is built"
        ),
        fault!(
            1,
            kills::killed_around_the_seed_there_are_four_sections,
            "kill -9 before and after sections are inserted"
        ),
        fault!(
            3,
            stops::stopped_beyond_its_lease_a_process_ends_without_a_write,
            "SIGSTOP beyond the lease, SIGCONT"
        ),
        fault!(
            3,
            stops::stopped_while_it_commits_its_commit_is_refused,
            "SIGSTOP beyond the lease with a commit under way, SIGCONT"
        ),
        fault!(
            15,
            stops::a_command_that_is_told_to_end_stops_at_a_checkpoint,
            "SIGTERM or SIGINT, `migrate up`"
        ),
        fault!(15, stops::a_service_that_is_told_to_end_stops_at_a_checkpoint, "SIGTERM, `up`"),
        fault!(
            2,
            starts::ten_replicas_on_an_empty_database_give_the_result_of_one,
            "ten replicas start on an empty database"
        ),
        fault!(9, starts::a_run_after_success_writes_nothing, "a run after success"),
        fault!(
            11,
            documents::duplicates_under_a_unique_index_are_named_and_one_renamed_makes_it_ready,
            "duplicates under a unique index"
        ),
        fault!(
            11,
            documents::an_index_with_other_options_is_named_and_keeps_no_other_from_being_built,
            "an index with other options"
        ),
        fault!(
            12,
            ledgers::a_migration_out_of_order_is_applied_and_the_others_are_left_alone,
            "a migration out of order"
        ),
        fault!(
            12,
            ledgers::an_edited_checksum_is_refused_until_it_is_repaired,
            "an edited checksum"
        ),
        fault!(
            12,
            ledgers::an_old_program_leaves_alone_what_a_newer_one_wrote,
            "an old program on a newer ledger"
        ),
        fault!(
            13,
            ledgers::without_the_ledgers_word_nothing_is_applied,
            "the ledger cannot be written, the data can"
        ),
        fault!(
            14,
            documents::a_document_that_cannot_be_updated_is_set_aside_and_the_rest_goes_on,
            "documents that cannot be updated"
        ),
        fault!(
            4,
            primaries::a_primary_may_step_down_at_any_place,
            "the primary steps down during acquire, batch, commit, index build"
        ),
        fault!(
            4,
            primaries::a_primary_may_be_killed_at_any_place,
            "the primary is killed during acquire, batch, commit, index build"
        ),
        fault!(
            4,
            primaries::a_backfill_survives_one_election_after_the_other,
            "elections one after the other during a backfill"
        ),
        fault!(
            4,
            primaries::a_command_that_fails_for_now_is_repeated,
            "commands fail as if the primary were lost, or with an unknown outcome"
        ),
        fault!(5, clocks::wrong_clocks_neither_steal_a_lease_nor_keep_it, "clocks ten minutes off"),
        fault!(
            6,
            networks::cut_off_the_holder_stops_before_its_lease_ends,
            "the holder is cut off from MongoDB"
        ),
        fault!(
            6,
            networks::cut_off_a_process_can_be_told_to_end,
            "SIGTERM while cut off from MongoDB"
        ),
        fault!(
            7,
            sections::a_sections_service_that_is_away_or_at_fault_is_waited_for,
            "sections-service down, 500, silent, truncated, wrong"
        ),
        fault!(
            8,
            sections::without_a_section_the_other_parts_go_on_and_the_next_start_links,
            "a section is missing"
        ),
        fault!(
            8,
            sections::a_section_that_is_renamed_meanwhile_keeps_its_content,
            "a section is renamed during the run"
        ),
        fault!(
            8,
            sections::a_section_that_is_deleted_meanwhile_is_reported,
            "a section is deleted during the run"
        ),
        fault!(
            10,
            writers::an_old_program_that_writes_meanwhile_loses_nothing,
            "an old program inserts, updates, replaces, deletes"
        ),
        fault!(
            16,
            databases::the_locks_of_a_killed_process_are_released,
            "kill -9 of a replica in the middle of a write; others write the same story or section",
            Limit::new(0, 4)
        ),
        fault!(
            16,
            databases::the_locks_of_a_killed_migration_are_released,
            "kill -9 of a migration in the middle of a batch; an editor saves a story of it",
            Limit::new(0, 4)
        ),
        fault!(
            17,
            databases::while_the_primary_is_frozen_no_request_waits_longer_than_the_limit,
            "SIGSTOP of the primary under reads",
            Limit::new(100, 15)
        ),
        fault!(
            18,
            databases::without_a_primary_sections_are_answered_from_memory,
            "the primary is killed and none is elected; reads of sections through the gateway",
            Limit::new(0, 2)
        ),
        fault!(
            19,
            databases::a_commit_of_unknown_outcome_is_answered_in_time_and_done_once,
            "the primary cannot replicate a commit, and steps down; the key is sent again",
            Limit::new(0, 7)
        ),
        fault!(
            20,
            databases::a_wrong_clock_neither_forgets_a_key_nor_dates_a_story,
            "the clock of a replica 25 h slow, 40 days ahead"
        ),
        fault!(
            21,
            replicas::no_request_fails_during_a_rolling_update_behind_one_name,
            "rolling update of both services behind one name each",
            Limit::new(0, 3)
        ),
        fault!(
            21,
            replicas::no_request_fails_during_a_rolling_update_of_listed_addresses,
            "rolling update of both services, addresses listed",
            Limit::new(0, 3)
        ),
        fault!(
            22,
            replicas::no_request_fails_when_one_of_two_replicas_is_killed,
            "kill -9 of one of two replicas",
            Limit::new(0, 3)
        ),
        fault!(
            23,
            replicas::reads_leave_a_replica_that_is_stopped,
            "SIGSTOP of one of two replicas, SIGCONT; reads",
            Limit::new(0, 3)
        ),
        fault!(
            23,
            replicas::a_post_with_a_key_leaves_a_replica_that_is_stopped_and_is_done_once,
            "SIGSTOP of one of two replicas, SIGCONT; writes with a key",
            // The write in whose middle it is stopped waits for its locks.
            Limit::new(2, 8)
        ),
        fault!(
            24,
            replicas::a_replica_that_fails_half_of_its_requests_is_left,
            "one of two replicas answers 500, resets or truncates half of the time",
            Limit::new(1, 3)
        ),
        fault!(
            25,
            replicas::a_post_with_a_key_survives_connections_that_close_and_is_done_once,
            "connections close as writes with a key arrive",
            Limit::new(0, 3)
        ),
        fault!(
            26,
            databases::requests_that_are_torn_off_leave_no_work_behind,
            "100, 300 and 600 requests are reset while the database is slow; reads afterwards",
            Limit::new(0, 3)
        ),
        fault!(
            27,
            overload::at_twice_the_capacity_nearly_all_of_it_is_of_use,
            "twice the capacity, at a constant rate",
            Limit::new(1, 1)
        )
        .alone(),
        fault!(
            28,
            upgrade::a_database_serves_the_next_version_and_the_earlier_one_again,
            "upgrade from the last version, back, and again"
        )
        .with_earlier_program(),
        fault!(
            28,
            upgrade::no_read_fails_while_replicas_of_two_versions_serve,
            "rolling update from the last version, and back",
            Limit::new(0, 3)
        )
        .with_earlier_program(),
    ]
}

/// The exit code if a test fails, as that of `libtest`.
const FAILED: u8 = 101;

/// Default number of concurrent tests, which wait for leases most of the time.
const THREADS: usize = 4;

/// The results of the faults with their limits, by their position in the table.
type Table = Arc<Mutex<BTreeMap<Place, (Limit, Option<Tally>)>>>;

/// The number of a fault, its place among the others, and what happens.
type Place = (u32, usize, &'static str);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let table = Table::default();
    let (alone, together): (Vec<_>, Vec<_>) =
        faults().into_iter().enumerate().partition(|(_, fault)| fault.is_alone);
    let run = |faults: Vec<(usize, Fault)>, arguments: &Arguments| {
        let faults = faults.into_iter();
        let trials = faults.map(|(order, fault)| trial(order, &fault, table.clone())).collect();
        libtest_mimic::run(arguments, trials).has_failed()
    };
    let mut has_failed = run(together, &arguments);
    arguments.test_threads = Some(1);
    has_failed |= run(alone, &arguments);
    // Nobody reads it where that fails.
    let _ = std::io::stdout().write_all(markdown(&table.lock().unwrap()).as_bytes());
    ExitCode::from(if has_failed { FAILED } else { 0 })
}

fn trial(order: usize, fault: &Fault, table: Table) -> Trial {
    let Fault { number, rule, happens, limit, test, needs_earlier_program, .. } = *fault;
    let is_ignored = needs_earlier_program && upgrade::earlier_program().is_none();
    let trial = Trial::test(format!("{number:02}::{rule}"), move || {
        let place = (number, order, happens);
        // Until it is over it has failed: a panic leaves it so.
        table.lock().unwrap().insert(place, (limit, None));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tally = runtime.block_on(test());
        table.lock().unwrap().insert(place, (limit, Some(tally)));
        if tally.is_clean() && limit.allows(&tally.traffic) {
            Ok(())
        } else {
            Err(Failed::from(format!("{tally}; the limit: {limit}")))
        }
    });
    trial.with_ignored_flag(is_ignored)
}

fn markdown(table: &BTreeMap<Place, (Limit, Option<Tally>)>) -> String {
    let rows = table.iter().map(|((number, _, happens), (limit, tally))| match tally {
        Some(Tally { rounds, lost, doubled, traffic }) => {
            let [requests, failed, longest_gap] = traffic.cells();
            format!(
                "| {number}. {happens} | {rounds} | {requests} | {failed} | {longest_gap} | {lost} \
                 | {doubled} | {limit} |\n"
            )
        }
        None => format!("| {number}. {happens} | failed | | | | | | {limit} |\n"),
    });
    let head = "| fault | rounds | requests | failed | longest gap | lost | doubled | limit |\n\
                |---|--:|--:|--:|--:|--:|--:|---|\n";
    if table.is_empty() { String::new() } else { head.to_owned() + &rows.collect::<String>() }
}
