//! Wrong clocks for programs that tests start.

const LIBRARY: &str = concat!(env!("OUT_DIR"), "/skewed_clock.so");

/// Returns the environment of a program whose wall clock is to be off by these seconds, ahead if they
/// are positive. Its monotonic clocks are right. Programs that it starts inherit the wrong clock.
pub fn skewed_clock(seconds: i64) -> [(&'static str, String); 2] {
    [("LD_PRELOAD", LIBRARY.to_owned()), ("SKEWED_CLOCK_SECONDS", seconds.to_string())]
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        time::{SystemTime, UNIX_EPOCH},
    };

    use super::*;

    fn now() -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
    }

    #[test]
    fn a_program_has_a_clock_that_is_off_by_so_many_seconds() {
        for seconds in [7_200, -7_200] {
            let before = now();
            let output =
                Command::new("date").arg("+%s").envs(skewed_clock(seconds)).output().unwrap();
            let after = now();

            let shown: i64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
            assert!((before..=after).contains(&(shown - seconds)), "{before} {shown} {after}");
        }
    }
}
