//! A proxy of a service that fails on request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::get;

/// The fault of an unreliable proxy.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It answers with this status and body.
    Answers(&'static str, &'static str),
    /// It closes the connection in the middle of a response.
    IsCut,
    /// It resets the connection before it answers.
    Resets,
    /// It accepts requests and sends no response.
    IsSilent,
}

/// A proxy of a service that has a fault until it is healed. It serves one request per connection.
pub struct Unreliable {
    /// The address of the proxy.
    pub url: String,
    is_healed: Arc<AtomicBool>,
    faults: Arc<AtomicUsize>,
}

impl Unreliable {
    /// Starts a proxy that forwards the first requests and has a fault from then on.
    pub async fn after(well: usize, fault: Fault, url: &str) -> Self {
        Self::with(fault, url, move |number| number >= well).await
    }

    /// Starts a proxy that has a fault from the first request on.
    pub async fn start(fault: Fault, url: &str) -> Self {
        Self::after(0, fault, url).await
    }

    /// Starts a proxy that has a fault at every second request.
    pub async fn half_the_time(fault: Fault, url: &str) -> Self {
        Self::with(fault, url, |number| number % 2 == 1).await
    }

    /// Starts a proxy that has a fault at the requests with these numbers, from 0 on.
    async fn with(
        fault: Fault,
        service_url: &str,
        is_met: impl Fn(usize) -> bool + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (is_healed, faults) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let this = Self { url, is_healed: is_healed.clone(), faults: faults.clone() };
        let service_url = service_url.to_owned();
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((connection, _)) = listener.accept().await else { return };
                let has_fault = is_met(number) && !is_healed.load(Ordering::SeqCst);
                if has_fault {
                    faults.fetch_add(1, Ordering::SeqCst);
                }
                let fault = has_fault.then_some(fault);
                tokio::spawn(answer(connection, fault, service_url.clone()));
            }
        });
        this
    }

    /// Returns the number of requests that met the fault.
    pub fn faults(&self) -> usize {
        self.faults.load(Ordering::SeqCst)
    }

    /// Ends the fault: every further request is forwarded.
    pub fn heal(&self) {
        self.is_healed.store(true, Ordering::SeqCst);
    }
}

/// Answers one request on a connection.
async fn answer(mut connection: TcpStream, fault: Option<Fault>, service_url: String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let (status, body) = match fault {
        None => {
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            let (status, body) = get(&format!("{service_url}{path}"), None).await;
            (status.to_string(), body.to_string())
        }
        Some(Fault::Answers(status, body)) => (status.to_owned(), body.to_owned()),
        Some(Fault::IsCut) => {
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n[{").await;
            return;
        }
        Some(Fault::Resets) => return connection.set_zero_linger().unwrap_or_default(),
        Some(Fault::IsSilent) => return std::future::pending().await,
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    // The client may have closed the connection.
    let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
}
