//! A proxy of sections-service that fails on request.

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
    /// It accepts requests and sends no response.
    IsSilent,
}

/// A proxy of sections-service that has a fault until it is healed.
pub struct Unreliable {
    /// The address of the proxy.
    pub url: String,
    is_healed: Arc<AtomicBool>,
    faults: Arc<AtomicUsize>,
}

impl Unreliable {
    /// Starts a proxy that forwards the first requests and has a fault from then on.
    pub async fn after(well: usize, fault: Fault, sections_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (is_healed, faults) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let this = Self { url, is_healed: is_healed.clone(), faults: faults.clone() };
        let sections_url = sections_url.to_owned();
        tokio::spawn(async move {
            let mut answered = 0;
            while let Ok((connection, _)) = listener.accept().await {
                answered += 1;
                let fault = (answered > well && !is_healed.load(Ordering::SeqCst)).then_some(fault);
                if fault.is_some() {
                    faults.fetch_add(1, Ordering::SeqCst);
                }
                tokio::spawn(answer(connection, fault, sections_url.clone()));
            }
        });
        this
    }

    /// Starts a proxy that has a fault from the first request on.
    pub async fn start(fault: Fault, sections_url: &str) -> Self {
        Self::after(0, fault, sections_url).await
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
async fn answer(mut connection: TcpStream, fault: Option<Fault>, sections_url: String) {
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
            let (status, body) = get(&format!("{sections_url}{path}"), None).await;
            (status.to_string(), body.to_string())
        }
        Some(Fault::Answers(status, body)) => (status.to_owned(), body.to_owned()),
        Some(Fault::IsCut) => {
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n[{").await;
            return;
        }
        Some(Fault::IsSilent) => return std::future::pending().await,
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    // The client may have closed the connection.
    let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
}
