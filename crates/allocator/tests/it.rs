//! Processes with and without the limits, which allocate on many threads.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

use std::process::ExitCode;

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn main() -> ExitCode {
    glibc::main()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::{
        collections::HashSet,
        fs, hint,
        process::{Command, ExitCode},
        sync::Barrier,
        thread,
    };

    use libtest_mimic::{Arguments, Trial};

    /// The arguments of a process under test, with the limits and without.
    const LIMITED: &str = "limited";
    const AS_IT_IS: &str = "as-it-is";

    const THREADS: usize = 64;

    /// The size of a buffer that gets pages of its own, and the number of buffers.
    const BUFFER_BYTES: usize = 300 * 1024;
    const BUFFERS: usize = 128;

    /// The size of a page; larger ones only make the numbers smaller.
    const PAGE_BYTES: usize = 4096;

    /// The alignment of an arena of a thread (`HEAP_MAX_SIZE` of glibc).
    const ARENA_ALIGNMENT: usize = 64 * 1024 * 1024;

    pub(super) fn main() -> ExitCode {
        // Before the process has a second thread.
        match std::env::args().nth(1).as_deref() {
            Some(LIMITED) => allocator::limit_kept_memory(),
            Some(AS_IT_IS) => {}
            _ => {
                let trials = vec![
                    Trial::test("arenas_are_few_unless_the_environment_says_otherwise", || {
                        arenas_are_few_unless_the_environment_says_otherwise();
                        Ok(())
                    }),
                    Trial::test("large_buffers_are_given_back_as_they_are_freed", || {
                        large_buffers_are_given_back_as_they_are_freed();
                        Ok(())
                    }),
                ];
                return libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
            }
        }
        println!("{} {}", arenas(), kept_bytes());
        ExitCode::SUCCESS
    }

    /// Runs this program with an argument, and returns its number of arenas and the memory that it
    /// keeps, in bytes.
    fn measure(argument: &str, environment: &[(&str, &str)]) -> (usize, usize) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        for name in ["ARENA_MAX", "MMAP_THRESHOLD_", "TRIM_THRESHOLD_"] {
            command.env_remove(format!("MALLOC_{name}"));
        }
        command.env_remove("GLIBC_TUNABLES").envs(environment.iter().copied());
        let output = command.arg(argument).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let (arenas, kept) = text.trim().split_once(' ').unwrap();
        (arenas.parse().unwrap(), kept.parse().unwrap())
    }

    fn arenas_are_few_unless_the_environment_says_otherwise() {
        let processors = thread::available_parallelism().unwrap().get();
        let (limited, _) = measure(LIMITED, &[]);
        assert!((2..=processors.clamp(2, 8)).contains(&limited), "{limited}");
        let (as_it_is, _) = measure(AS_IT_IS, &[]);
        assert!(as_it_is > limited, "{as_it_is} without the limit");
        for (name, value) in
            [("MALLOC_ARENA_MAX", "1"), ("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")]
        {
            assert_eq!(measure(LIMITED, &[(name, value)]).0, 1, "{name}");
        }
    }

    fn large_buffers_are_given_back_as_they_are_freed() {
        let all = BUFFERS * BUFFER_BYTES;
        let (_, kept) = measure(LIMITED, &[]);
        assert!(kept < all / 8, "{kept} of {all}");
        let (_, kept) = measure(AS_IT_IS, &[]);
        assert!(kept > all / 2, "{kept} of {all} without the limit");
    }

    /// Returns the number of arenas in which threads allocate that run at the same time.
    fn arenas() -> usize {
        let barrier = Barrier::new(THREADS);
        let places: HashSet<usize> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let allocated = Box::new([0_u8; 2_000]);
                        barrier.wait();
                        hint::black_box(&allocated).as_ptr().addr()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // The main arena is elsewhere, as one of these or more.
        places.into_iter().map(|place| place / ARENA_ALIGNMENT).collect::<HashSet<_>>().len()
    }

    /// Returns the memory that the process keeps after large buffers were freed, in bytes.
    fn kept_bytes() -> usize {
        // The size of the first one that is freed would be that of buffers without own pages.
        drop(hint::black_box(vec![1_u8; 16 * 1024 * 1024]));
        let before = resident_bytes();
        let mut small = Vec::new();
        let large: Vec<_> = (0..BUFFERS)
            .map(|_| {
                let buffer = vec![1_u8; BUFFER_BYTES];
                // Keeps the end of the arena in use.
                small.push(Box::new([1_u8; 2_000]));
                buffer
            })
            .collect();
        drop(hint::black_box(large));
        let kept = resident_bytes().saturating_sub(before);
        drop(hint::black_box(small));
        kept
    }

    fn resident_bytes() -> usize {
        // The second field of proc(5), `/proc/[pid]/statm`, in pages.
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * PAGE_BYTES
    }
}
