//! The DDS participant: one address, generous socket buffers.

use std::net::IpAddr;

use anyhow::Context as _;
use ros2_client::Context;
use ros2_client::dds::rustdds::{self, DomainParticipantBuilder, Pacing};

use super::start::interface::Address;

/// Asked of the kernel, which grants `net.core.rmem_max` at most. Large, so that raising that
/// setting is all it takes.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;
/// Asked of the kernel, which grants `net.core.wmem_max` at most. What is in there cannot be replaced by a
/// newer message, so on a slow link it is delay.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// Joins `domain_id` on `address`, announced to `static_peers` beside what multicast reaches. `pacing` limits
/// what is sent, and counts it.
///
/// # Errors
/// No free ports, or no right to open sockets.
pub(super) fn join(
    domain_id: u16,
    address: Address,
    static_peers: Vec<IpAddr>,
    pacing: Pacing,
) -> anyhow::Result<Context> {
    // The published crates have no such items, so no build can take them for the patched ones.
    tracing::debug!("ros2-client {}, rustdds {}", ros2_client::PATCHED_VERSION, rustdds::PATCHED_VERSION);
    let participant = DomainParticipantBuilder::new(domain_id)
        .with_only_networks([address.ip])
        .accept_only_networks(address.is_exclusive())
        .socket_receive_buffer_size(RECEIVE_BUFFER_BYTES)
        .socket_send_buffer_size(SEND_BUFFER_BYTES)
        .pacing(pacing)
        .build();
    let joined = || {
        let participant = participant?;
        if !static_peers.is_empty() {
            participant.announce_to(static_peers)?;
        }
        Ok(Context::from_domain_participant(participant)?)
    };
    let joined: anyhow::Result<Context> = joined();
    joined.with_context(|| format!("cannot join ROS domain {domain_id} on {address}"))
}
