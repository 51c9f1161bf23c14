//! Services of the node, answered on the thread that spins.

use std::future::{Future, ready};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use ros2_client::qos::{Durability, History, WhenFull};
use ros2_client::{Message, Name, Node, QosProfile, ServiceMapping, ServiceTypeName};

use super::wire::messages::{
    SaveHeadRequest, SetBoolRequest, SetBoolResponse, TeachRequest, TeachResponse, TriggerRequest,
    TriggerResponse,
};
use crate::logging::{BETWEEN_WARNINGS, Throttle};

/// What a service did, or why it did not, for who asked.
pub type Answer = Result<String, String>;

/// An answer that may take a while.
pub type Answering<T> = BoxFuture<'static, Result<T, String>>;

/// What the services do.
pub struct Services {
    /// `~/set_enabled`, a std_srvs/SetBool.
    pub set_enabled: Box<dyn FnMut(bool) -> Answer + Send>,
    /// `~/save_pca_basis`, a std_srvs/Trigger.
    pub save_pca_basis: Box<dyn FnMut() -> Answer + Send>,
    /// `~/reset_pca_basis`, a std_srvs/Trigger.
    pub reset_pca_basis: Box<dyn FnMut() -> Answer + Send>,
    /// Those of a node that is taught.
    pub teaching: Option<TeachingServices>,
}

/// What the services of a node that is taught do.
pub struct TeachingServices {
    /// `~/teach`, a pixio_node/Teach.
    pub teach: Box<dyn FnMut(TeachCall) -> Answering<TeachOutcome> + Send>,
    /// `~/save_head`, a pixio_node/SaveHead: of a path.
    pub save_head: Box<dyn FnMut(String) -> Answering<String> + Send>,
}

/// A request of `~/teach`.
#[derive(Clone, Debug, PartialEq)]
pub struct TeachCall {
    /// Name of the camera, empty where there is one.
    pub camera: String,
    /// Name of the class.
    pub class_name: String,
    /// Columns of the pixels that show the class.
    pub x: Vec<f64>,
    /// Their rows.
    pub y: Vec<f64>,
    /// Whether the class is forgotten instead.
    pub is_forgotten: bool,
}

/// What came of a request of `~/teach`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeachOutcome {
    /// In one sentence.
    pub message: String,
    /// The class's number in label images.
    pub class_id: u8,
    /// Exemplars of the class now.
    pub n_exemplars: u32,
}

impl Services {
    /// Offers every service under the name that `resolve` makes of its own; the futures answer the requests.
    ///
    /// # Errors
    /// A remap rule that leads to an impossible name, or DDS out of resources.
    pub(super) fn answering(
        self,
        node: &mut Node,
        resolve: impl Fn(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Vec<BoxFuture<'static, ()>>> {
        let Self { mut set_enabled, mut save_pca_basis, mut reset_pca_basis, teaching } = self;
        let mut offer = Offer { node, resolve };
        let mut answering = vec![
            offer.service("set_enabled", ("std_srvs", "SetBool"), move |SetBoolRequest { data }| {
                ready(set_bool(set_enabled(data)))
            })?,
            offer.service("save_pca_basis", TRIGGER, move |TriggerRequest { .. }| {
                ready(trigger(save_pca_basis()))
            })?,
            offer.service("reset_pca_basis", TRIGGER, move |TriggerRequest { .. }| {
                ready(trigger(reset_pca_basis()))
            })?,
        ];
        if let Some(TeachingServices { mut teach, mut save_head }) = teaching {
            answering.push(offer.service("teach", ("pixio_node", "Teach"), move |request| {
                teach(call(request)).map(outcome)
            })?);
            answering.push(offer.service(
                "save_head",
                ("pixio_node", "SaveHead"),
                move |SaveHeadRequest { path }| save_head(path).map(trigger),
            )?);
        }
        Ok(answering)
    }
}

/// Requests of one service that are answered at the same time.
const MOST_AT_ONCE: usize = 64;

/// Requests of one service that wait behind these, and answers that wait for their client.
const MOST_WAITING: usize = 100;

/// From one answer of a service to the next. Clients keep ten answers unless they are told otherwise, and lose
/// the oldest of those that they have not taken: they get time to take each.
const BETWEEN_ANSWERS: Duration = Duration::from_millis(5);

const TRIGGER: (&str, &str) = ("std_srvs", "Trigger");

fn set_bool(answer: Answer) -> SetBoolResponse {
    let (success, message) = told(answer);
    SetBoolResponse { success, message }
}

/// Also of `pixio_node/SaveHead`, which answers alike.
fn trigger(answer: Answer) -> TriggerResponse {
    let (success, message) = told(answer);
    TriggerResponse { success, message }
}

fn call(TeachRequest { camera, class_name, x, y, forget }: TeachRequest) -> TeachCall {
    TeachCall { camera, class_name, x, y, is_forgotten: forget }
}

fn outcome(outcome: Result<TeachOutcome, String>) -> TeachResponse {
    match outcome {
        Ok(TeachOutcome { message, class_id, n_exemplars }) => {
            TeachResponse { success: true, message, class_id, exemplars: n_exemplars }
        }
        Err(message) => TeachResponse { message, ..TeachResponse::default() },
    }
}

fn told(answer: Answer) -> (bool, String) {
    match answer {
        Ok(text) => (true, text),
        Err(text) => (false, text),
    }
}

/// Offers services of a node.
struct Offer<'a, R> {
    node: &'a mut Node,
    resolve: R,
}

impl<R: Fn(&str) -> anyhow::Result<String>> Offer<'_, R> {
    fn service<Q, A, F>(
        &mut self,
        name: &str,
        (package, kind): (&str, &str),
        mut answer: impl FnMut(Q) -> F + Send + 'static,
    ) -> anyhow::Result<BoxFuture<'static, ()>>
    where
        Q: Message + Clone + Send + Sync + 'static,
        A: Message + Clone + Send + Sync + 'static,
        F: Future<Output = A> + Send + 'static,
    {
        let name = (self.resolve)(name)?;
        let failed = || format!("cannot offer the service {name}");
        // As rclcpp's services have it, with room for more.
        let qos = QosProfile::subscription_default()
            .history(History::KeepLast { depth: MOST_WAITING })
            .durability(Durability::Volatile)
            .reliability_reliable(WhenFull::Wait(Duration::from_millis(100)));
        let kind = ServiceTypeName::new(package, kind);
        let full_name = Name::parse(&name).with_context(failed)?;
        let server = self
            .node
            .create_server::<Q, A>(ServiceMapping::ByVendor, &full_name, &kind, qos.clone(), qos)
            .with_context(failed)?;
        let throttle = Throttle::new(BETWEEN_WARNINGS);
        let serve = async move {
            // One that waits for a frame holds up no other.
            let answering = server.receive_request_stream().map(|request| {
                let answering = request.map(|(id, request)| (id, answer(request)));
                async {
                    let (id, answering) = answering.map_err(|err| err.to_string())?;
                    Ok((id, answering.await))
                }
            });
            let mut answered = pin!(answering.buffer_unordered(MOST_AT_ONCE));
            while let Some(answered) = answered.next().await {
                let sent = match answered {
                    Ok((id, answer)) => {
                        let sent = server.async_send_response(id, answer).await;
                        smol::Timer::after(BETWEEN_ANSWERS).await;
                        sent.map_err(|err| err.to_string())
                    }
                    Err(err) => Err(err),
                };
                // Whoever can call can call again and again.
                if let Err(err) = sent
                    && let Some(more) = throttle.admit()
                {
                    tracing::warn!("{name}: a request was not answered ({more} more before it): {err}");
                }
            }
        };
        Ok(serve.boxed())
    }
}
