//! `wrk` as the client.

use std::process::Command;

/// Duration of one measurement of a rate, and the number of its repetitions, which alternate with
/// those of the other rate.
pub(crate) const WRK_SECONDS: &str = "4s";
pub(crate) const ROUNDS: usize = 3;

/// A request that is sent again and again.
#[derive(Clone, Copy)]
pub(crate) struct Get<'a> {
    pub(crate) url: &'a str,
    /// A header with its value.
    pub(crate) header: Option<&'a str>,
}

/// Requests a second, by `wrk` with eight connections.
pub(crate) fn rate(url: &str) -> f64 {
    rate_of(Get { url, header: None })
}

/// The median rates of requests that are measured in turn.
pub(crate) fn rates<const N: usize>(requests: [Get<'_>; N]) -> [f64; N] {
    let mut measured = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (rates, request) in measured.iter_mut().zip(requests) {
            rates.push(rate_of(request));
        }
    }
    measured.map(median)
}

fn rate_of(get: Get<'_>) -> f64 {
    rate_with(8, WRK_SECONDS, get)
}

/// Requests a second with this number of connections, measured for this time.
pub(crate) fn rate_with(connections: u32, time: &str, Get { url, header }: Get<'_>) -> f64 {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t", "1", "-c", &connections.to_string(), "-d", time, url]);
    wrk.args(header.into_iter().flat_map(|header| ["-H", header]));
    let output = wrk.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("Non-2xx"), "{text}");
    let line = text.lines().find(|line| line.starts_with("Requests/sec:")).expect(&text);
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
