//! Agents tell what others can have from them, and ask who has what they need.

use super::State;
use super::answer::{Cbor, Refusal, read};
use crate::access::unavailable;
use crate::listen::Peer;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{self, Path};
use muster_api::{Lender, Lends, LendsHeard, Needs, Problem};
use muster_core::id::AgentId;
use std::time::Instant;

/// An agent says what it lends, and where. Others are sent to no place but its own.
pub(super) async fn lends(
    extract::State(state): extract::State<State>,
    Extension(peer): Extension<Peer>,
    Path(agent): Path<u64>,
    body: Bytes,
) -> Result<Cbor<LendsHeard>, Refusal> {
    let lends: Lends = read("what an agent lends", &body)?;
    let listen = lends.address.listen.ip();
    if !listen.is_loopback() && listen != peer.address.ip().to_canonical() {
        let said = format!("an agent at {} lends nothing at {listen}", peer.address.ip());
        return Err(Problem::new(422, "bad-request", said)
            .next("let it share at the address by which it reaches the server (`--share`)")
            .into());
    }
    if !listen.is_loopback() && lends.address.certificate.is_empty() {
        let said = "beyond its own host an agent is known by a certificate";
        return Err(Problem::new(422, "bad-request", said).into());
    }
    state.peers.tell(AgentId(agent), lends, Instant::now());
    let revoked = match &state.access {
        Some(access) => tokio::task::block_in_place(|| access.book.count_revoked_agents())
            .map_err(|e| Refusal::from(unavailable(&e)))?,
        None => 0,
    };
    Ok(Cbor(LendsHeard { revoked }))
}

/// Who has what an agent needs.
pub(super) async fn lenders(
    extract::State(state): extract::State<State>,
    Path(agent): Path<u64>,
    body: Bytes,
) -> Result<Cbor<Vec<Lender>>, Refusal> {
    let needs: Needs = read("what an agent needs", &body)?;
    Ok(Cbor(state.peers.find(AgentId(agent), &needs, Instant::now())))
}
