//! The number of connections, and what the parts of one share.

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use tokio::time::timeout;

use super::timeouts::Timeouts;
use crate::web::origin::{TrustedProxies, network};

/// The largest number of connections of one address. Browsers open six; a frontend that renders on its
/// server, on another machine, some dozens.
const MAX_PER_ADDRESS: usize = 256;

/// The memory of all responses that wait for their readers, and of long heads that are not complete, in
/// bytes: a part of the 256 MiB that the manifests give to a process.
const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;

/// The time after which a client that reads nothing counts as stalled, if memory is short.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// The connections of a server.
#[derive(Debug, Clone)]
pub(crate) struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: usize,
    max_per_address: usize,
    trusted_proxies: TrustedProxies,
    timeouts: Timeouts,
    open: Mutex<Open>,
    held_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Open {
    last_id: u64,
    connections: HashMap<u64, Arc<Connection>>,
    per_address: HashMap<IpAddr, usize>,
}

/// The state of a connection that its socket and its requests share.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    /// The address for which it counts. `None` if its address may have any number.
    address: Option<IpAddr>,
    /// Wakes the task that reads and writes the socket.
    pub(super) waker: AtomicWaker,
    pub(super) is_closing: AtomicBool,
    /// `true` while the body of the request in flight has not arrived.
    pub(super) is_body_pending: AtomicBool,
    /// `true` if the last bytes from the client can be the end of a head.
    pub(super) is_head_complete: AtomicBool,
    /// The number of requests so far.
    pub(super) requests: AtomicUsize,
    activity: Mutex<Activity>,
}

#[derive(Debug)]
struct Activity {
    in_flight: usize,
    idle_since: Instant,
    stalled_since: Option<Instant>,
}

/// A place among the connections. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) connections: Connections,
    pub(super) connection: Arc<Connection>,
}

/// Memory that a response holds until it is sent, or a long head until it is complete.
#[derive(Debug)]
pub(crate) struct HeldMemory {
    connections: Connections,
    bytes: usize,
}

impl Connections {
    /// Returns no connections, with a limit of their number.
    pub(crate) fn new(max: usize, trusted_proxies: TrustedProxies, timeouts: Timeouts) -> Self {
        Self(Arc::new(Inner {
            max,
            max_per_address: MAX_PER_ADDRESS,
            trusted_proxies,
            timeouts,
            open: Mutex::default(),
            held_bytes: AtomicUsize::new(0),
        }))
    }

    /// Adds a connection from this address. Returns `None` if there are too many and none is idle.
    pub(crate) fn add(&self, peer: Option<IpAddr>) -> Option<Place> {
        let is_exempt = |peer: &IpAddr| {
            peer.to_canonical().is_loopback() || self.0.trusted_proxies.contains(*peer)
        };
        let address = peer.filter(|peer| !is_exempt(peer)).map(network);
        let mut open = self.open();
        if let Some(address) = address
            && open.per_address.get(&address).is_some_and(|count| *count >= self.0.max_per_address)
        {
            open.close_longest_idle(|connection| connection.address == Some(address))?;
        }
        if open.connections.len() >= self.0.max {
            open.close_longest_idle(|_| true)?;
        }
        open.last_id += 1;
        let connection = Arc::new(Connection::new(open.last_id, address));
        open.connections.insert(connection.id, Arc::clone(&connection));
        if let Some(address) = address {
            *open.per_address.entry(address).or_default() += 1;
        }
        drop(open);
        Some(Place { connections: self.clone(), connection })
    }

    /// Reserves memory for a response or a long head. If there is not enough, the connection whose client has read
    /// nothing for the longest time is closed; if there is none, this returns `None`.
    pub(crate) fn hold(&self, bytes: usize) -> Option<HeldMemory> {
        let held = &self.0.held_bytes;
        let has_room = |before: usize| (before + bytes <= MAX_HELD_BYTES).then_some(before + bytes);
        let is_reserved = held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room).is_ok();
        if is_reserved || bytes == 0 {
            return Some(HeldMemory { connections: self.clone(), bytes });
        }
        self.open().close_longest_stalled()?;
        // Its memory is given back by its own task, in a moment.
        Some(self.hold_anyway(bytes))
    }

    /// Reserves memory for a response that has to be sent, without a limit.
    pub(crate) fn hold_anyway(&self, bytes: usize) -> HeldMemory {
        self.0.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        HeldMemory { connections: self.clone(), bytes }
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.0.timeouts
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn close_longest_idle(&mut self, is_candidate: impl Fn(&Connection) -> bool) -> Option<()> {
        let candidates = self.connections.values().filter(|connection| is_candidate(connection));
        let idle = candidates.filter_map(|connection| Some((connection.idle_since()?, connection)));
        let (_, longest) = idle.min_by_key(|(since, _)| *since)?;
        let longest = Arc::clone(longest);
        self.close(&longest);
        Some(())
    }

    fn close_longest_stalled(&mut self) -> Option<()> {
        let stalled = self.connections.values().filter_map(|connection| {
            let since = connection.activity().stalled_since?;
            (since.elapsed() >= STALLED_AFTER).then_some((since, connection))
        });
        let (_, longest) = stalled.min_by_key(|(since, _)| *since)?;
        let longest = Arc::clone(longest);
        self.close(&longest);
        Some(())
    }

    fn close(&mut self, connection: &Connection) {
        connection.is_closing.store(true, Ordering::Release);
        connection.waker.wake();
        self.remove(connection);
    }

    fn remove(&mut self, connection: &Connection) {
        if self.connections.remove(&connection.id).is_none() {
            return;
        }
        if let Some(address) = connection.address
            && let Some(count) = self.per_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
    }
}

impl Connection {
    fn new(id: u64, address: Option<IpAddr>) -> Self {
        let idle_since = Instant::now();
        Self {
            id,
            address,
            waker: AtomicWaker::new(),
            is_closing: AtomicBool::new(false),
            is_body_pending: AtomicBool::new(false),
            is_head_complete: AtomicBool::new(true),
            requests: AtomicUsize::new(0),
            activity: Mutex::new(Activity { in_flight: 0, idle_since, stalled_since: None }),
        }
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.activity().in_flight > 0
    }

    pub(super) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.activity().in_flight += 1;
    }

    pub(super) fn end_request(&self) {
        let mut activity = self.activity();
        activity.in_flight = activity.in_flight.saturating_sub(1);
        activity.idle_since = Instant::now();
    }

    pub(super) fn set_stalled(&self, is_stalled: bool) {
        self.activity().stalled_since = is_stalled.then(Instant::now);
    }

    /// Returns `None` if a request is in flight or a response is not sent.
    fn idle_since(&self) -> Option<Instant> {
        let activity = self.activity();
        let is_idle = activity.in_flight == 0 && activity.stalled_since.is_none();
        is_idle.then_some(activity.idle_since)
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits for a handshake with its limit of time. Fails if the place is needed for another
    /// connection.
    pub(crate) async fn during_handshake<T>(
        &self,
        handshake: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let closed = poll_fn(|context| {
            self.connection.waker.register(context.waker());
            match self.connection.is_closing.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        tokio::select! {
            result = timeout(self.connections.timeouts().handshake, handshake) => {
                result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            () = closed => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().remove(&self.connection);
    }
}

impl HeldMemory {
    /// Returns the number of bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.connections.0.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::{
        runtime::settings,
        web::origin::{NetworkPosition, TrustedProxies},
    };

    fn connections(max: usize) -> Connections {
        let server: settings::Server =
            from_value(json!({ "trusted_proxies": "10.0.0.1" })).unwrap();
        let proxies = TrustedProxies::new(&server, NetworkPosition::Edge);
        Connections::new(max, proxies, Timeouts::default())
    }

    fn add(connections: &Connections, peer: &str) -> Option<Place> {
        connections.add(Some(peer.parse().unwrap()))
    }

    fn is_closing(place: &Place) -> bool {
        place.connection.is_closing.load(Ordering::Acquire)
    }

    #[test]
    fn at_the_limit_the_connection_that_was_idle_for_the_longest_time_is_closed() {
        let connections = connections(3);
        let places: Vec<_> =
            (1..=3).map(|n| add(&connections, &format!("192.0.2.{n}")).unwrap()).collect();
        places[0].connection.begin_request();
        let fourth = add(&connections, "127.0.0.1").unwrap();
        assert_eq!(places.iter().map(is_closing).collect::<Vec<_>>(), [false, true, false]);
        places[0].connection.end_request();
        let fifth = add(&connections, "192.0.2.5").unwrap();
        assert_eq!(places.iter().map(is_closing).collect::<Vec<_>>(), [false, true, true]);
        for place in [&places[0], &fourth] {
            place.connection.begin_request();
        }
        fifth.connection.begin_request();
        assert!(add(&connections, "192.0.2.6").is_none(), "none is idle");
        drop(fourth);
        assert!(add(&connections, "192.0.2.6").is_some());
    }

    #[test]
    fn one_address_has_a_share_and_this_machine_and_proxies_have_any_number() {
        let connections = connections(100_000);
        let fill = |peer: &str, number: usize| -> Vec<_> {
            (0..number).map(|_| add(&connections, peer).unwrap()).collect()
        };
        let of_one = fill("192.0.2.1", MAX_PER_ADDRESS + 44);
        assert_eq!(of_one.iter().filter(|place| is_closing(place)).count(), 44);
        assert!(of_one[..44].iter().all(is_closing), "the oldest ones");
        // Addresses of one network of IPv6 are one client.
        let of_network: Vec<_> = (0..MAX_PER_ADDRESS + 1)
            .map(|n| add(&connections, &format!("2001:db8::{n:x}")).unwrap())
            .collect();
        assert_eq!(of_network.iter().filter(|place| is_closing(place)).count(), 1);
        for exempt in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1"] {
            assert!(!fill(exempt, MAX_PER_ADDRESS * 2).iter().any(is_closing), "{exempt}");
        }
        drop((of_one, of_network));
        let open = connections.open();
        assert!(open.connections.is_empty() && open.per_address.is_empty());
    }

    #[test]
    fn memory_is_given_back_and_only_a_stalled_reader_is_cut_for_it() {
        let connections = connections(10);
        let reader = add(&connections, "192.0.2.1").unwrap();
        let half = MAX_HELD_BYTES / 2;
        let held = [connections.hold(half).unwrap(), connections.hold(half).unwrap()];
        assert!(connections.hold(1).is_none(), "all readers read");
        assert!(connections.hold(0).is_some());
        drop(connections.hold_anyway(1));
        assert!(connections.hold(0).is_some() && connections.hold(1).is_none());
        drop(held);
        let _held = [connections.hold(half).unwrap(), connections.hold(half).unwrap()];
        reader.connection.activity().stalled_since = Instant::now().checked_sub(STALLED_AFTER);
        assert!(connections.hold(1).is_some());
        assert!(is_closing(&reader));
    }
}
