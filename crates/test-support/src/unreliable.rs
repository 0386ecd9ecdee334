//! What stands at the address of sections-service and is not always well.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::get;

/// How something at the address of sections-service behaves while it is not well.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It answers this status and body.
    Answers(&'static str, &'static str),
    /// It dies in the middle of an answer.
    IsCut,
    /// It takes requests and says nothing.
    IsSilent,
}

/// Stands at an address of its own and passes requests on to sections-service when it is well.
pub struct Unreliable {
    /// Its address.
    pub url: String,
    is_well: Arc<AtomicBool>,
    faults: Arc<AtomicUsize>,
}

impl Unreliable {
    /// Answers the first requests well and is at fault from then on.
    pub async fn after(well: usize, fault: Fault, sections_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (is_well, faults) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let this = Self { url, is_well: is_well.clone(), faults: faults.clone() };
        let sections_url = sections_url.to_owned();
        tokio::spawn(async move {
            let mut answered = 0;
            while let Ok((connection, _)) = listener.accept().await {
                answered += 1;
                let fault = (answered > well && !is_well.load(Ordering::SeqCst)).then_some(fault);
                if fault.is_some() {
                    faults.fetch_add(1, Ordering::SeqCst);
                }
                tokio::spawn(answer(connection, fault, sections_url.clone()));
            }
        });
        this
    }

    /// At fault from the first request.
    pub async fn start(fault: Fault, sections_url: &str) -> Self {
        Self::after(0, fault, sections_url).await
    }

    /// How many requests were not answered well.
    pub fn faults(&self) -> usize {
        self.faults.load(Ordering::SeqCst)
    }

    /// From now on every request is passed on.
    pub fn heal(&self) {
        self.is_well.store(true, Ordering::SeqCst);
    }
}

/// One request on a connection.
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
    // Who asked may have left.
    let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
}
