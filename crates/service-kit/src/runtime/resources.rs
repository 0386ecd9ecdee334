//! The resources that the operating system gives to the process: their limits and their use.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use opentelemetry::global;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

/// Raises the limit of open file descriptors to the highest one that the process may have. The lower
/// default, often 1,024, is for programs that use `select` (systemd, "File Descriptor Limits").
/// Returns the limit, or `None` if there is none.
pub fn raise_descriptor_limit() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        // macOS has a lower limit of its own. The process runs with the one that it has.
        tracing::debug!(%error, "the limit of file descriptors cannot be raised");
    }
    getrlimit(Resource::Nofile).current
}

/// Reports the resources of the process as metrics (OpenTelemetry semantic conventions, "OS process
/// metrics").
pub(super) fn report_resources() {
    let meter = global::meter("service-kit");
    let started_at = Instant::now();
    meter
        .f64_observable_gauge("process.uptime")
        .with_unit("s")
        .with_description("The time since the process started")
        .with_callback(move |uptime| uptime.observe(started_at.elapsed().as_secs_f64(), &[]))
        .build();
    meter
        .f64_observable_counter("process.cpu.time")
        .with_unit("s")
        .with_description("The processor time of the process, of all its threads")
        .with_callback(|time| time.observe(cpu_time().as_secs_f64(), &[]))
        .build();
    let report_amount = |name, unit, description, amount: fn() -> io::Result<i64>| {
        meter
            .i64_observable_up_down_counter(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |observer| {
                if let Ok(amount) = amount() {
                    observer.observe(amount, &[]);
                }
            })
            .build()
    };
    report_amount(
        "process.memory.usage",
        "By",
        "The memory of the process (resident set)",
        resident_bytes,
    );
    report_amount(
        "process.unix.file_descriptor.count",
        "{file_descriptor}",
        "The open file descriptors of the process",
        open_descriptors,
    );
    meter
        .u64_observable_gauge("process.unix.file_descriptor.limit")
        .with_unit("{file_descriptor}")
        .with_description("The largest number of file descriptors that the process may open")
        .with_callback(|limit| {
            if let Some(current) = getrlimit(Resource::Nofile).current {
                limit.observe(current, &[]);
            }
        })
        .build();
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// Returns the resident memory as proc(5) reports it. Other systems than Linux have no such file.
fn resident_bytes() -> io::Result<i64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kibibytes.map(|kibibytes: i64| kibibytes * 1024).ok_or(io::ErrorKind::InvalidData.into())
}

fn open_descriptors() -> io::Result<i64> {
    // One of them is the folder that is being read.
    let open = fs::read_dir("/proc/self/fd")?.count().saturating_sub(1);
    Ok(i64::try_from(open).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_descriptors_becomes_the_highest_one() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
        assert_eq!(raise_descriptor_limit(), maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_resources_in_use_are_those_of_this_process() {
        let before = open_descriptors().unwrap();
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close files at the same time.
        assert!(open_descriptors().unwrap() >= before + 50);
        drop(files);
        let before = resident_bytes().unwrap();
        let memory = std::hint::black_box(vec![1_u8; 64 * 1024 * 1024]);
        assert!(resident_bytes().unwrap() > before + 32 * 1024 * 1024);
        drop(memory);
        let before = cpu_time();
        while cpu_time() < before + Duration::from_millis(10) {
            std::hint::black_box(0);
        }
    }
}
