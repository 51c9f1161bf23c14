//! Services of the node: each request is answered by a function, on the thread that spins.

use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use futures::{Future, StreamExt};
use ros2_client::qos::{Durability, History, WhenFull};
use ros2_client::{Message, Name, Node, QosProfile, ServiceMapping, ServiceTypeName};

use super::wire::messages::{SetBoolRequest, SetBoolResponse, TriggerRequest, TriggerResponse};
use crate::logging::{BETWEEN_WARNINGS, Throttle};

/// What a service did, or why it did not, for who asked.
pub type Answer = Result<String, String>;

/// Answers `std_srvs/SetBool`.
pub(super) fn set_bool(
    node: &mut Node,
    name: &str,
    mut answer: impl FnMut(bool) -> Answer + Send + 'static,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    serve(node, name, "SetBool", move |SetBoolRequest { data }| {
        let (success, message) = told(answer(data));
        SetBoolResponse { success, message }
    })
}

/// Answers `std_srvs/Trigger`.
pub(super) fn trigger(
    node: &mut Node,
    name: &str,
    mut answer: impl FnMut() -> Answer + Send + 'static,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    serve(node, name, "Trigger", move |TriggerRequest { .. }| {
        let (success, message) = told(answer());
        TriggerResponse { success, message }
    })
}

fn told(answer: Answer) -> (bool, String) {
    match answer {
        Ok(text) => (true, text),
        Err(text) => (false, text),
    }
}

fn serve<Q, A>(
    node: &mut Node,
    name: &str,
    service: &'static str,
    mut answer: impl FnMut(Q) -> A + Send + 'static,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static>
where
    Q: Message + Clone + Send + Sync + 'static,
    A: Message + Clone + Send + Sync + 'static,
{
    let failed = || format!("cannot offer the service {name}");
    // As rclcpp's services have it.
    let qos = QosProfile::subscription_default()
        .history(History::KeepLast { depth: 10 })
        .durability(Durability::Volatile)
        .reliability_reliable(WhenFull::Wait(Duration::from_millis(100)));
    let kind = ServiceTypeName::new("std_srvs", service);
    let full_name = Name::parse(name).with_context(failed)?;
    let server = node
        .create_server::<Q, A>(ServiceMapping::ByVendor, &full_name, &kind, qos.clone(), qos)
        .with_context(failed)?;
    let name = name.to_owned();
    let throttle = Throttle::new(BETWEEN_WARNINGS);
    Ok(async move {
        let mut requests = pin!(server.receive_request_stream());
        while let Some(request) = requests.next().await {
            let sent = match request {
                Ok((id, request)) => {
                    server.async_send_response(id, answer(request)).await.map_err(|err| err.to_string())
                }
                Err(err) => Err(err.to_string()),
            };
            // Whoever can call can call again and again.
            if let Err(err) = sent
                && let Some(more) = throttle.admit()
            {
                tracing::warn!("{name}: a request was not answered ({more} more before it): {err}");
            }
        }
    })
}
