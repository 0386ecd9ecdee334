//! Answers from memory, without changes and beside them.

use std::time::{Duration, Instant};

use super::{
    CONNECTIONS, PATHS, ROUNDS, SLUG, WRK_TIME,
    hello::hello,
    medians,
    nginx::Nginx,
    start,
    writer::{Writer, item_path},
};
use crate::{
    connection::Connection,
    table::Table,
    wrk::{Get, median, rate_with},
};

/// Answers from memory, as 200 and as 304, against a bare server and nginx.
pub(super) async fn cached(uri: &str, table: &mut Table) {
    let up = start(uri, &[]);
    let nginx = Nginx::start(&up.address, true);
    for path in PATHS {
        let url = format!("{}{path}", up.address);
        let (tag, length) = kept(&up.address, path);
        let header = format!("If-None-Match: {tag}");
        let hello = hello(length);
        let mut gets = vec![
            Get { url: &hello, header: None },
            Get { url: &url, header: None },
            Get { url: &url, header: Some(&header) },
        ];
        let through_nginx = nginx.as_ref().map(|nginx| format!("{}{path}", nginx.address));
        gets.extend(through_nginx.as_deref().map(|url| Get { url, header: None }));
        let medians = medians(&gets);
        let [hello, hit, unchanged] = [medians[0], medians[1], medians[2]];
        table.row(
            &format!("{path} from memory ÷ a bare server with a body of {length} bytes"),
            format!("{:.2} ({hit:.0}/s, {hello:.0}/s)", hit / hello),
            "≥ 0.5",
            hit / hello >= 0.5,
        );
        table.row(
            &format!("304 of {path} ÷ the same"),
            format!("{:.2} ({unchanged:.0}/s)", unchanged / hello),
            "≥ 0.5",
            unchanged / hello >= 0.5,
        );
        if let Some(nginx) = medians.get(3) {
            table.row(
                &format!("{path} from memory ÷ `proxy_cache` of nginx"),
                format!("{:.2} ({nginx:.0}/s)", hit / nginx),
                "≥ 1.0",
                hit / nginx >= 1.0,
            );
        }
    }
}

/// Answers from memory while what they show is changed.
pub(super) async fn beside_writes(uri: &str, table: &mut Table) {
    let up = start(uri, &[]);
    let story = item_path(&up.address, "stories", SLUG);
    let section = item_path(&up.address, "sections", "/sections/slug/blog");
    for path in PATHS {
        let url = format!("{}{path}", up.address);
        let (_, length) = kept(&up.address, path);
        let hello = hello(length);
        let [bare, hit] = [&hello, &url].map(|url| Get { url, header: None });
        let changed = if path == "/sections" { &section } else { &story };
        let mut rates = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            rates[0].push(rate_with(CONNECTIONS, WRK_TIME, bare));
            for (rates, per_second) in rates[1..].iter_mut().zip([1, 100]) {
                let _writer = Writer::start(&up.address, changed, per_second);
                rates.push(rate_with(CONNECTIONS, WRK_TIME, hit));
            }
        }
        let [bare, one, hundred] = rates.map(median);
        for (what, rate, least) in [("one write", one, 0.45), ("100 writes", hundred, 0.25)] {
            table.row(
                &format!("{path} with {what} a second of what it shows ÷ a bare server"),
                format!("{:.2} ({rate:.0}/s, {bare:.0}/s)", rate / bare),
                &format!("≥ {least}"),
                rate / bare >= least,
            );
        }
    }
}

/// Waits until an answer comes from memory. Returns its tag and length.
fn kept(address: &str, path: &str) -> (String, usize) {
    let began = Instant::now();
    let mut connection = Connection::open(address);
    loop {
        let answer = connection.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let status = answer.header("cache-status");
        if status == Some("turbulence; hit") {
            return (answer.header("etag").unwrap().to_owned(), answer.body.len());
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{path} is not kept: {status:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
