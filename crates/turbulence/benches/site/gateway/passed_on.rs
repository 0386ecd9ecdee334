//! Answers of content-service with the gateway or nginx before it, and without.

use super::{SLUG, medians, nginx::Nginx, service_address, start};
use crate::{
    steady::{Latencies, Load, latencies},
    table::Table,
    wrk::Get,
};

/// The load under which latencies are compared, and the number of rounds.
const LOAD: Load = Load { per_second: 1_000, seconds: 3 };
const LATENCY_ROUNDS: usize = 5;

/// The largest latency that the gateway may add, in milliseconds.
const ADDED: [(usize, f64); 2] = [(50, 0.3), (99, 1.0)];

/// The rates and the latencies.
pub(super) async fn passed_on(uri: &str, table: &mut Table) {
    let up = start(uri, &[("TURBULENCE__CACHE__MAX_BYTES", "0")]);
    let content = service_address(&up.address, "content-service");
    let nginx = Nginx::start(&content, false);
    for path in [SLUG, "/stories?limit=10"] {
        let mut addresses = vec![&content, &up.address];
        addresses.extend(nginx.as_ref().map(|nginx| &nginx.address));
        let urls: Vec<_> = addresses.iter().map(|address| format!("{address}{path}")).collect();
        let gets: Vec<_> = urls.iter().map(|url| Get { url, header: None }).collect();
        let medians = medians(&gets);
        let [direct, through] = [medians[0], medians[1]];
        table.row(
            &format!("{path} through the gateway, not from memory ÷ at the service"),
            format!("{:.2} ({through:.0}/s, {direct:.0}/s)", through / direct),
            "≥ 0.9",
            through / direct >= 0.9,
        );
        if let Some(nginx) = medians.get(2) {
            table.row(
                &format!("{path} through the gateway, not from memory ÷ through nginx"),
                format!("{:.2} ({nginx:.0}/s)", through / nginx),
                "≥ 1.0",
                through / nginx >= 1.0,
            );
        }
        let mut measured = [const { Latencies::new() }; 2];
        for _ in 0..LATENCY_ROUNDS {
            for (all, address) in measured.iter_mut().zip(&addresses) {
                all.extend(latencies(address, path, LOAD).await);
            }
        }
        let [mut direct, mut through] = measured;
        for (percent, most) in ADDED {
            let [direct, through] = [&mut direct, &mut through].map(|all| all.percentile(percent));
            table.row(
                &format!(
                    "p{percent} of {path} at 1,000 requests/s through the gateway − at the service"
                ),
                format!("{:.2} ms ({through:.2} ms − {direct:.2} ms)", through - direct),
                &format!("≤ {most} ms"),
                through - direct <= most,
            );
        }
    }
}
