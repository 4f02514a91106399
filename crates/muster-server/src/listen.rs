//! Connections: taken up, made safe, counted, and served until the server ends.
//!
//! Who connects may be hostile: a handshake, the head of a request and a silence have their time, and nobody
//! has more than a share of the connections.

use crate::linger::{lend, linger};
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use muster_api::Problem;
use rustls::ServerConfig;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long the head of a request may take, from the end of the request before it: also the longest silence.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Longest head of a request, and how much of a body is held at a time.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// Connections at once, and those of one address.
// Limit: each costs a descriptor and some tens of kilobytes.
const CONNECTIONS_MAX: usize = 8_192;
const CONNECTIONS_PER_ADDRESS_MAX: u32 = 2_048;
/// How long nothing is taken up when the system has no descriptors left.
const REST: Duration = Duration::from_millis(100);
/// What TLS begins with.
const TLS_HANDSHAKE: u8 = 0x16;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The digest of its certificate, which is of our authority and not over, and whose key it has.
    pub(crate) certificate: Option<[u8; 32]>,
}

/// Serves connections until the server ends, with TLS where it is given.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    mut ended: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let shares = Shares::default();
    let graceful = GracefulShutdown::new();
    let tls = tls.map(TlsAcceptor::from);
    loop {
        let taken = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            taken = taken => taken,
            // Its sender is gone only when the server is.
            _ending = ended.wait_for(|ended| *ended) => break,
        };
        let Ok((stream, address)) = accepted else {
            tokio::time::sleep(REST).await;
            continue;
        };
        let Some(share) = shares.take(address.ip()) else { continue };
        // It only makes small answers later.
        let _delayed = stream.set_nodelay(true);
        let (router, tls, watcher) = (router.clone(), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            match tls {
                None => talk(stream, Peer { address, certificate: None }, router, watcher).await,
                Some(tls) => {
                    // A handshake that does not come to its end is nobody's.
                    let shaken = tokio::time::timeout(HANDSHAKE_MAX, shake_hands(stream, &tls)).await;
                    if let Ok(Some(stream)) = shaken {
                        let chain = stream.get_ref().1.peer_certificates();
                        let certificate = chain.and_then(|c| c.first()).map(|c| *blake3::hash(c).as_bytes());
                        talk(stream, Peer { address, certificate }, router, watcher).await;
                    }
                }
            }
            drop((place, share));
        });
    }
    // Who comes now is told by the system that nobody is here.
    drop(listener);
    graceful.shutdown().await;
}

async fn shake_hands(
    mut stream: TcpStream,
    tls: &TlsAcceptor,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 1 && first[0] != TLS_HANDSHAKE {
        // Somebody who speaks plain HTTP is told so in plain HTTP.
        let problem = Problem::new(400, "https-only", "this server speaks TLS alone")
            .next("ask for `https://…`, with the token file that an admin of the lab has given you");
        let body = serde_json::to_string(&problem).expect("a problem has a form in JSON");
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            Problem::MEDIA_TYPE,
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.shutdown().await.ok()?;
        // What it still sends is let in, or the answer would be lost with the connection.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok()?;
        return None;
    }
    tls.accept(stream).await.ok()
}

/// Serves one connection.
async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: Peer,
    router: Router,
    watcher: Watcher,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        TowerToHyperService::new(router.clone()).call(request)
    });
    let (lent, returned) = lend(stream);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(lent), service);
    // It breaks when the other side does; there is nobody to tell.
    let _broken = watcher.watch(connection).await;
    if let Ok(stream) = returned.await {
        linger(stream).await;
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Shares(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// One of them, given back when it is dropped.
struct Share {
    of: Shares,
    address: IpAddr,
}

impl Shares {
    /// `None`: it has all that one may have.
    fn take(&self, address: IpAddr) -> Option<Share> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(address).or_default();
        if *count >= CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Share { of: self.clone(), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_more_than_its_share_and_gives_it_back() {
        let shares = Shares::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held: Vec<Share> = (0..CONNECTIONS_PER_ADDRESS_MAX).map(|_| shares.take(one).unwrap()).collect();
        assert!(shares.take(one).is_none());
        assert!(shares.take(other).is_some());
        drop(held);
        assert!(shares.take(one).is_some());
        assert!(shares.0.lock().unwrap().is_empty(), "nobody is remembered");
    }
}
