//! Faults that the migrations survive: the real program as processes, on real MongoDBs, with real
//! signals. `docs/reference/migrations.md` has the table that this prints.
//!
//! A test returns what was lost and what was doubled, and fails where that is not nothing.
//! `TURBULENCE_FAULT_ROUNDS=5` has each fault happen five times as often, at other places.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod accounts;
mod clocks;
mod documents;
mod kills;
mod ledgers;
mod networks;
mod primaries;
mod sections;
mod servers;
mod sites;
mod starts;
mod stops;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
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

/// A way in which something goes wrong, and the test that it is survived.
pub(crate) struct Fault {
    /// Its number in the specification.
    number: u32,
    /// The rule that the test is for.
    rule: &'static str,
    /// The description of the fault in the table.
    happens: &'static str,
    test: fn() -> LocalBoxFuture<'static, Tally>,
}

/// A numbered fault, with the name of its test and its description in the table.
macro_rules! fault {
    ($number:literal, $module:ident::$rule:ident, $happens:literal) => {
        Fault {
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
    ]
}

/// Default number of concurrent tests, which wait for leases most of the time.
const THREADS: usize = 4;

/// The results of the faults, by their position in the table.
type Table = Arc<Mutex<BTreeMap<Place, Option<Tally>>>>;

/// The number of a fault, its place among the others, and what happens.
type Place = (u32, usize, &'static str);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let table = Table::default();
    let faults = faults().into_iter().enumerate();
    let trials = faults.map(|(order, fault)| trial(order, &fault, table.clone())).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Nobody reads it where that fails.
    let _ = std::io::stdout().write_all(markdown(&table.lock().unwrap()).as_bytes());
    conclusion.exit_code()
}

fn trial(order: usize, fault: &Fault, table: Table) -> Trial {
    let Fault { number, rule, happens, test } = *fault;
    Trial::test(format!("{number:02}::{rule}"), move || {
        let place = (number, order, happens);
        // Until it is over it has failed: a panic leaves it so.
        table.lock().unwrap().insert(place, None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tally = runtime.block_on(test());
        table.lock().unwrap().insert(place, Some(tally));
        if tally.is_clean() { Ok(()) } else { Err(Failed::from(tally.to_string())) }
    })
}

fn markdown(table: &BTreeMap<Place, Option<Tally>>) -> String {
    let rows = table.iter().map(|((number, _, happens), tally)| match tally {
        Some(Tally { rounds, lost, doubled }) => {
            format!("| {number}. {happens} | {rounds} | {lost} | {doubled} |\n")
        }
        None => format!("| {number}. {happens} | failed | | |\n"),
    });
    let head = "| fault | rounds | lost | doubled |\n|---|--:|--:|--:|\n";
    if table.is_empty() { String::new() } else { head.to_owned() + &rows.collect::<String>() }
}
