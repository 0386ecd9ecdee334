//! Limits of the memory that the allocator keeps (ADR 0030).
//!
//! The allocator of glibc keeps what was freed. It has eight arenas for each processor, and each keeps
//! some of the buffers of the requests that its threads handled. It also raises the size from which a
//! buffer has pages of its own, which are given back as it is freed, up to 32 MiB. A process with
//! 256 MiB is killed by that under some loads.
//!
//! Other allocators, and other systems, are left as they are.

/// Limits the memory that the allocator of this process keeps, and leaves settings of the environment
/// as they are.
///
/// Call it before the process has a second thread, since the number of arenas is fixed when that
/// allocates.
pub fn limit_kept_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::limit_kept_memory();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::{env, ffi::OsStr, os::unix::ffi::OsStrExt, thread::available_parallelism};

    use libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, c_int, mallopt};

    /// The bounds of the number of arenas, of which there is one for each processor. In the run of
    /// ADR 0030, each arena beyond two kept 10 MiB, so that eight are still within 256 MiB.
    const MIN_ARENAS: usize = 2;
    const MAX_ARENAS: usize = 8;

    /// The size from which a buffer has pages of its own, in bytes: that of the bodies and pages of
    /// which some requests have one each (ADR 0030). glibc begins with half of it.
    const OWN_PAGES_BYTES: c_int = 256 * 1024;

    /// The free memory at the end of an arena that is kept, in bytes: what a few requests need.
    const KEPT_BYTES: c_int = 1024 * 1024;

    /// A parameter of the allocator: its number and value, and its names in the environment (mallopt(3);
    /// the manual of glibc, "Memory Allocation Tunables").
    struct Parameter {
        number: c_int,
        value: c_int,
        variable: &'static str,
        tunable: &'static str,
    }

    pub(super) fn limit_kept_memory() {
        let processors = available_parallelism().map_or(MIN_ARENAS, Into::into);
        let arenas = processors.clamp(MIN_ARENAS, MAX_ARENAS);
        let parameters = [
            Parameter {
                number: M_ARENA_MAX,
                value: c_int::try_from(arenas).unwrap_or(c_int::MAX),
                variable: "MALLOC_ARENA_MAX",
                tunable: "glibc.malloc.arena_max",
            },
            Parameter {
                number: M_MMAP_THRESHOLD,
                value: OWN_PAGES_BYTES,
                variable: "MALLOC_MMAP_THRESHOLD_",
                tunable: "glibc.malloc.mmap_threshold",
            },
            Parameter {
                number: M_TRIM_THRESHOLD,
                value: KEPT_BYTES,
                variable: "MALLOC_TRIM_THRESHOLD_",
                tunable: "glibc.malloc.trim_threshold",
            },
        ];
        for parameter in parameters {
            parameter.set_unless_configured();
        }
    }

    impl Parameter {
        #[expect(unsafe_code, reason = "a function of C")]
        fn set_unless_configured(&self) {
            if self.is_configured() {
                return;
            }
            // SAFETY: the function takes two numbers and locks the allocator (the manual of glibc,
            // "Malloc Tunable Parameters"). A value that it does not accept changes nothing.
            unsafe { mallopt(self.number, self.value) };
        }

        fn is_configured(&self) -> bool {
            let tunables = env::var_os("GLIBC_TUNABLES").unwrap_or_default();
            env::var_os(self.variable).is_some() || is_among(&tunables, self.tunable)
        }
    }

    /// Returns `true` if a list of tunables sets this one.
    fn is_among(tunables: &OsStr, name: &str) -> bool {
        let mut all = tunables.as_bytes().split(|byte| *byte == b':');
        all.any(|one| one.split(|byte| *byte == b'=').next() == Some(name.as_bytes()))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_tunable_is_known_by_its_whole_name() {
            let tunables = OsStr::new("glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=4096");
            assert!(is_among(tunables, "glibc.malloc.arena_max"));
            assert!(is_among(tunables, "glibc.malloc.mmap_threshold"));
            assert!(!is_among(tunables, "glibc.malloc.trim_threshold"));
            assert!(!is_among(tunables, "glibc.malloc.arena"));
            assert!(!is_among(OsStr::new(""), "glibc.malloc.arena_max"));
        }
    }
}
