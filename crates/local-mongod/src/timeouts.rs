//! The longest durations of the phases in the life of a mongod.

use std::time::Duration;

/// The longest start. An unused data folder is ready in about two seconds; a large one may have to
/// recover its journal.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest clean shutdown. A checkpoint of much data takes a while, and a killed server has to
/// recover at its next start.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest end of a killed process: it ends at once, unless its disk hangs.
pub(crate) const KILL_TIMEOUT: Duration = Duration::from_secs(5);
