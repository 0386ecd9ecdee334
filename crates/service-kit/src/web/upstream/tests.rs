//! Tests of selection, and of requests with several attempts, without connections and waiting.

use std::{collections::HashMap, io, net::IpAddr, sync::Mutex};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use models::{ErrorCode, Problem};

use super::*;

/// A resolver whose answers a test sets, and its number of look-ups. A name without an answer cannot be
/// resolved.
#[derive(Debug, Default)]
struct Names(Mutex<HashMap<String, Vec<IpAddr>>>, AtomicUsize);

impl Names {
    fn set(&self, name: &str, ips: &[&str]) {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        self.0.lock().unwrap().insert(name.to_owned(), ips);
    }
}

impl Resolve for Names {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let found = self.0.lock().unwrap().get(&host).cloned();
        async move { found.ok_or_else(|| io::ErrorKind::NotFound.into()) }.boxed()
    }
}

fn upstream_with(addresses: &str, options: Options) -> Arc<Upstream> {
    Upstream::new("content-service", addresses.parse().unwrap(), options)
}

/// Returns a service with replicas at `10.0.0.0`, `10.0.0.1` and so on.
fn upstream(replicas: usize) -> Arc<Upstream> {
    let addresses: Vec<_> = (0..replicas).map(|n| format!("http://10.0.0.{n}:80")).collect();
    upstream_with(&addresses.join(","), Options::default())
}

fn number(replica: &Replica) -> u8 {
    match replica.socket().ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => unreachable!(),
    }
}

/// Returns the order in which replicas are tried for a request.
fn order(upstream: &Upstream, turn: usize) -> Vec<u8> {
    let (mut tried, mut order) = (Vec::new(), Vec::new());
    while let Some((_, replica)) = upstream.pick(turn, &tried, Instant::now()) {
        order.push(number(&replica));
        tried.push(replica);
    }
    order
}

fn error() -> BoxError {
    io::Error::from(io::ErrorKind::ConnectionRefused).into()
}

#[test]
fn replicas_are_used_in_turn() {
    let upstream = upstream(3);
    let first: Vec<_> = (0..4).map(|turn| order(&upstream, turn)[0]).collect();
    assert_eq!(first, [0, 1, 2, 0]);
}

#[test]
fn each_state_of_a_replica_puts_it_behind_the_better_ones_and_excludes_none() {
    let upstream = upstream(5);
    let now = Instant::now();
    let replicas = upstream.replicas();
    replicas[0].record_unreachable(&io::Error::other("refused"), now);
    replicas[1].record_probe(ProbeResult::NotReady(None), now);
    replicas[2].eject(now);
    assert!(replicas[3].record_silence(now, now));
    assert_eq!(order(&upstream, 0), [4, 3, 2, 1, 0]);
    for replica in &replicas[..2] {
        replica.record_probe(ProbeResult::Ready(None), now);
    }
    assert_eq!(order(&upstream, 0), [0, 1, 4, 3, 2]);
}

#[test]
fn the_only_replica_is_tried_whatever_probes_say() {
    for result in
        [ProbeResult::NotReady(None), ProbeResult::Slow, ProbeResult::Unreachable(error())]
    {
        let upstream = upstream(1);
        let replica = &upstream.replicas()[0];
        for _ in 0..3 {
            replica.record_probe(ProbeResult::Slow, Instant::now());
        }
        replica.record_probe(result, Instant::now());
        assert_eq!(order(&upstream, 0), [0]);
    }
}

#[test]
fn a_late_probe_is_slow_and_not_dead() {
    let upstream = upstream(2);
    let (replicas, now) = (upstream.replicas(), Instant::now());
    replicas[0].record_probe(ProbeResult::Ready(None), now);
    for _ in 0..2 {
        replicas[0].record_probe(ProbeResult::Slow, now);
        replicas[0].record_probe(ProbeResult::Slow, now);
        assert_eq!(order(&upstream, 0)[0], 0);
        replicas[0].record_probe(ProbeResult::Ready(None), now);
    }
    for _ in 0..3 {
        replicas[0].record_probe(ProbeResult::Slow, now);
    }
    assert_eq!(order(&upstream, 0), [1, 0]);
    assert!(replicas[0].is_ready(), "a service that is busy stays ready");
    let later = now + Duration::from_secs(10);
    assert!(!replicas[0].is_ready_at(later), "one that hangs does not");
    replicas[0].record_reaction(later);
    assert!(replicas[0].is_ready_at(later));
    // Any answer shows that it is alive.
    replicas[0].record_answer(now);
    assert_eq!(order(&upstream, 0), [0, 1]);
}

#[test]
fn a_replica_without_probes_is_tried_again_after_growing_pauses() {
    let upstream = upstream(2);
    let replica = &upstream.replicas()[0];
    let mut now = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        replica.record_unreachable(&io::Error::other("refused"), now);
        let seconds = (1..100)
            .find(|second| replica.rank(now + Duration::from_secs(*second)) == Rank::Usable);
        pauses.push(seconds.unwrap());
        now += Duration::from_secs(seconds.unwrap());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    replica.record_answer(now);
    replica.record_unreachable(&io::Error::other("refused"), now);
    assert_eq!(replica.rank(now + Duration::from_secs(1)), Rank::Usable);
}

#[test]
fn at_most_half_of_the_replicas_are_excluded_for_errors() {
    for (count, excluded) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let upstream = upstream(count);
        let (replicas, now) = (upstream.replicas(), Instant::now());
        // The last one is well, so that the others are outliers.
        for _ in 0..100 {
            replicas[count - 1].record_answer(now);
        }
        for replica in replicas.iter().take(count.max(2) - 1) {
            for _ in 0..50 {
                upstream.record_failure_at(replica, now);
            }
        }
        let found = replicas.iter().filter(|one| one.rank(now) == Rank::Ejected).count();
        assert!(found <= count / 2, "{count}: {found}");
        assert_eq!(found.min(1), excluded.min(1), "{count}");
    }
}

#[tokio::test]
async fn each_address_of_a_name_is_a_replica_and_those_that_stay_keep_their_state() {
    let names = Arc::new(Names::default());
    let options = Options { resolver: names.clone(), ..Options::default() };
    let upstream = upstream_with("http://content:5003, http://10.0.0.9:80", options);
    assert_eq!(order(&upstream, 0), [9]);
    names.set("content", &["10.0.0.2", "10.0.0.1", "10.0.0.2"]);
    upstream.refresh().await;
    let list = upstream.replicas();
    assert_eq!(list.iter().map(|one| number(one)).collect::<Vec<_>>(), [1, 2, 9]);
    let request =
        |replica: &Replica| replica.request("/a?b".parse().unwrap(), http::HeaderMap::new(), ());
    assert_eq!(request(&list[0]).headers()["host"], "content:5003");
    assert_eq!(*request(&list[0]).uri(), "http://10.0.0.1:5003/a?b");
    assert_eq!(request(&list[2]).headers()["host"], "10.0.0.9");

    list[1].record_probe(ProbeResult::NotReady(None), Instant::now());
    names.set("content", &["10.0.0.2", "10.0.0.3"]);
    upstream.refresh().await;
    let after = upstream.replicas();
    assert_eq!(after.iter().map(|one| number(one)).collect::<Vec<_>>(), [2, 3, 9]);
    assert!(Arc::ptr_eq(&list[1], &after[0]) && Arc::ptr_eq(&list[2], &after[2]));

    // A name server that fails takes nothing away.
    names.0.lock().unwrap().clear();
    upstream.refresh().await;
    assert!(Arc::ptr_eq(&after, &upstream.replicas()));
    names.set("content", &[]);
    upstream.refresh().await;
    assert!(Arc::ptr_eq(&after, &upstream.replicas()));
}

/// The outcome of an attempt that a test plans.
#[derive(Clone, Copy)]
enum Plan {
    Status(u16),
    /// The response of a service with this error.
    Refusal(ErrorCode),
    /// A 503 with this body.
    Report(&'static str),
    /// A status with `Retry-After`.
    Later(u16),
    NotConnected,
    Broken,
    Truncated,
    Hangs,
}

async fn outcome(plan: Plan, replica: Arc<Replica>) -> Result<Response, AttemptError<()>> {
    let (status, body, is_later) = match plan {
        Plan::Status(status) => (status, String::new(), false),
        Plan::Later(status) => (status, String::new(), true),
        Plan::Refusal(code) => {
            let problem = Problem::new(code, "detail");
            (problem.status, serde_json::to_string(&problem).unwrap(), true)
        }
        Plan::Report(body) => (503, body.to_owned(), true),
        Plan::NotConnected => return Err(AttemptError::NotConnected(error())),
        Plan::Broken => return Err(AttemptError::Broken(error())),
        Plan::Truncated => return Err(AttemptError::Truncated(error())),
        Plan::Hangs => std::future::pending().await,
    };
    let mut response = http::Response::builder().status(status);
    if is_later {
        response = response.header("retry-after", "1");
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    Ok(Response { head, body: Held::Whole(Bytes::from(body)), replica })
}

/// Sends a request whose attempts have these outcomes. Returns the status, or `None` without a
/// response, and the replicas that got the request.
async fn send(upstream: &Arc<Upstream>, policy: Policy, plans: &[Plan]) -> (Option<u16>, Vec<u8>) {
    let tried = Mutex::new(Vec::new());
    let attempt = |replica: Arc<Replica>| {
        let mut tried = tried.lock().unwrap();
        tried.push(number(&replica));
        outcome(plans[tried.len() - 1], replica)
    };
    let sent = upstream.send(policy, attempt).await;
    let status = sent.ok().map(|response| response.status().as_u16());
    (status, tried.into_inner().unwrap())
}

const NOT_SAFE: Policy = Policy { is_held: true, is_repeatable: false, is_safe: false };
const WITH_KEY: Policy = Policy { is_held: true, is_repeatable: true, is_safe: false };
const STREAMED: Policy = Policy { is_held: false, is_repeatable: false, is_safe: false };

#[tokio::test]
async fn each_outcome_is_repeated_as_far_as_that_is_safe() {
    use Plan::*;
    let refusal = Refusal(ErrorCode::NotReady);
    let draining = Report(r#"{"status":"draining","checks":{}}"#);
    for (policy, plans, status, tried) in [
        // Nothing was done: the next replica, for any method, without a limit.
        (NOT_SAFE, &[refusal, refusal, Status(201)][..], Some(201), &[0, 1, 2][..]),
        (NOT_SAFE, &[draining, NotConnected, Status(201)], Some(201), &[0, 1, 2]),
        (STREAMED, &[NotConnected, Status(201)], Some(201), &[0, 1]),
        (STREAMED, &[refusal], Some(503), &[0]),
        (Policy::SAFE, &[refusal, refusal, refusal], Some(503), &[0, 1, 2]),
        (NOT_SAFE, &[Refusal(ErrorCode::DatabaseUnavailable)], Some(503), &[0]),
        // It may have arrived.
        (NOT_SAFE, &[Broken], None, &[0]),
        (STREAMED, &[Broken], None, &[0]),
        (WITH_KEY, &[Broken, Status(201)], Some(201), &[0, 1]),
        (WITH_KEY, &[Status(500)], Some(500), &[0]),
        // A safe request, once.
        (Policy::SAFE, &[Broken, Status(200)], Some(200), &[0, 1]),
        (Policy::SAFE, &[Truncated, Status(200)], Some(200), &[0, 1]),
        (Policy::SAFE, &[Status(502), Status(200)], Some(200), &[0, 1]),
        (Policy::SAFE, &[Broken, Broken], None, &[0, 1]),
        (Policy::SAFE, &[Status(500), Broken], Some(500), &[0, 1]),
        (Policy::SAFE, &[Broken, Status(500)], Some(500), &[0, 1]),
        // The service says when to ask again.
        (Policy::SAFE, &[Later(503)], Some(503), &[0]),
        (Policy::SAFE, &[Refusal(ErrorCode::Overloaded)], Some(503), &[0]),
        (Policy::SAFE, &[Status(404)], Some(404), &[0]),
        (Policy::SAFE, &[NotConnected, NotConnected, NotConnected], None, &[0, 1, 2]),
    ] {
        let upstream = upstream(3);
        assert_eq!(send(&upstream, policy, plans).await, (status, tried.to_vec()), "{policy:?}");
    }
}

#[tokio::test]
async fn a_request_that_ends_its_replica_does_not_end_all() {
    let upstream = upstream(5);
    let (status, tried) = send(&upstream, Policy::SAFE, &[Plan::Broken; 5]).await;
    assert_eq!((status, tried.len()), (None, 2));
    let upstream = upstream_with(
        "http://10.0.0.0:80,http://10.0.0.1:80",
        Options { max_retries: 0, ..Options::default() },
    );
    assert_eq!(send(&upstream, Policy::SAFE, &[Plan::Broken]).await, (None, vec![0]));
}

#[tokio::test]
async fn the_only_replica_gets_a_request_again_whose_connection_closed() {
    let only = upstream(1);
    let plans = [Plan::Broken, Plan::Status(201)];
    assert_eq!(send(&only, WITH_KEY, &plans).await, (Some(201), vec![0, 0]));
    assert_eq!(send(&only, Policy::SAFE, &[Plan::Truncated]).await, (None, vec![0]));
    assert_eq!(send(&only, Policy::SAFE, &[Plan::Status(500)]).await, (Some(500), vec![0]));
}

#[tokio::test]
async fn retries_stay_within_a_fifth_of_the_requests() {
    let upstream = upstream(2);
    let mut attempts = 0;
    for _ in 0..5_000 {
        attempts += send(&upstream, Policy::SAFE, &[Plan::Broken; 2]).await.1.len();
    }
    let retries = attempts - 5_000;
    // The reserve is ten in each of ten seconds.
    assert!((1_000..=1_100).contains(&retries), "{retries}");
}

fn impatient(replicas: usize) -> Arc<Upstream> {
    let addresses: Vec<_> = (0..replicas).map(|n| format!("http://10.0.0.{n}:80")).collect();
    let options = Options { hedge_after: Duration::from_millis(20), ..Options::default() };
    upstream_with(&addresses.join(","), options)
}

#[tokio::test]
async fn a_safe_request_to_a_silent_replica_is_sent_to_another_one() {
    let upstream = impatient(2);
    let plans = [Plan::Hangs, Plan::Status(200)];
    assert_eq!(send(&upstream, Policy::SAFE, &plans).await, (Some(200), vec![0, 1]));
    // The replica is avoided until it answers something.
    for _ in 0..4 {
        let (_, tried) = send(&upstream, Policy::SAFE, &[Plan::Status(200)]).await;
        assert_eq!(tried, [1]);
    }
    upstream.replicas()[0].record_probe(ProbeResult::Ready(None), Instant::now());
    let first: Vec<u8> = [0, 1].map(|turn| order(&upstream, turn)[0]).to_vec();
    assert_eq!(first, [0, 1]);
}

#[tokio::test]
async fn requests_at_a_replica_that_is_silent_are_moved_without_a_budget() {
    let upstream = impatient(2);
    while tower::retry::budget::Budget::withdraw(&upstream.budget) {}
    let plans = [Plan::Hangs, Plan::Status(200)];
    assert_eq!(send(&upstream, Policy::SAFE, &plans).await, (Some(200), vec![0, 1]));
}

#[tokio::test]
async fn a_request_that_may_change_something_is_never_sent_twice_at_a_time() {
    let upstream = impatient(2);
    for policy in [NOT_SAFE, STREAMED] {
        let sending = send(&upstream, policy, &[Plan::Hangs]);
        let sent = tokio::time::timeout(Duration::from_millis(200), sending).await;
        assert!(sent.is_err(), "{policy:?}");
    }
    assert_eq!(upstream.requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_request_with_a_key_leaves_a_replica_that_answers_nothing_and_is_not_hedged() {
    let plans = [Plan::Hangs, Plan::Status(201)];
    assert_eq!(send(&impatient(2), WITH_KEY, &plans).await, (Some(201), vec![0, 1]));
    // The replica answers other requests.
    let upstream = impatient(2);
    let replicas = upstream.replicas();
    let others = async {
        loop {
            replicas[0].record_answer(Instant::now());
            tokio::task::yield_now().await;
        }
    };
    let sent = async {
        tokio::select! {
            sent = send(&upstream, WITH_KEY, &[Plan::Hangs]) => Some(sent),
            () = others => None,
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(200), sent).await.is_err());
}

#[tokio::test]
async fn a_replica_that_refuses_requests_under_load_is_not_taken_out() {
    for (code, rank) in
        [(ErrorCode::Overloaded, Rank::Usable), (ErrorCode::DatabaseUnavailable, Rank::Ejected)]
    {
        let upstream = upstream(2);
        for _ in 0..50 {
            let attempt = |replica: Arc<Replica>| {
                let is_first = number(&replica) == 0;
                outcome(if is_first { Plan::Refusal(code) } else { Plan::Status(200) }, replica)
            };
            upstream.send::<(), _, _>(Policy::SAFE, attempt).await.unwrap();
        }
        assert_eq!(upstream.replicas()[0].rank(Instant::now()), rank, "{code:?}");
    }
}

#[tokio::test]
async fn a_bad_outcome_does_not_end_an_attempt_that_still_runs() {
    for bad in [Plan::Later(503), Plan::Refusal(ErrorCode::Overloaded), Plan::Broken] {
        let upstream = impatient(2);
        let second = Notify::new();
        let attempt = |replica: Arc<Replica>| {
            let is_first = number(&replica) == 0;
            let second = &second;
            async move {
                if is_first {
                    second.notified().await;
                    tokio::task::yield_now().await;
                    outcome(Plan::Status(200), replica).await
                } else {
                    second.notify_one();
                    outcome(bad, replica).await
                }
            }
        };
        let sent = upstream.send(Policy::SAFE, attempt).await.unwrap();
        assert_eq!(sent.status(), 200);
    }
    // If no attempt succeeds, the response says more than the error.
    let upstream = impatient(2);
    let second = Notify::new();
    let attempt = |replica: Arc<Replica>| {
        let is_first = number(&replica) == 0;
        let second = &second;
        async move {
            if is_first {
                second.notified().await;
                return outcome(Plan::Truncated, replica).await;
            }
            second.notify_one();
            outcome(Plan::Later(503), replica).await
        }
    };
    assert_eq!(upstream.send(Policy::SAFE, attempt).await.unwrap().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn requests_without_an_address_share_a_look_up() {
    let names = Arc::new(Names::default());
    let options = Options { resolver: names.clone(), ..Options::default() };
    let upstream = upstream_with("http://content:5003", options);
    let results = join_all((0..20).map(|_| send(&upstream, Policy::SAFE, &[]))).await;
    assert_eq!(results, vec![(None, Vec::new()); 20]);
    let count = names.1.load(Ordering::Relaxed);
    assert!((1..=2).contains(&count), "{count}");

    names.set("content", &["10.0.0.7"]);
    let plans = [Plan::Status(200)];
    let results = join_all((0..20).map(|_| send(&upstream, Policy::SAFE, &plans))).await;
    assert_eq!(results, vec![(Some(200), vec![7]); 20]);
}
