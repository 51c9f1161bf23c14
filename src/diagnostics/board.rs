//! Everything that the statuses are made of, in one place.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::camera::{View, status, topic_status};
use super::jumps::Jumps;
use super::{Findings, Status};
use crate::pipeline::Shared;
use crate::runtime::lock::lock;

/// One camera, once it is subscribed to.
#[derive(Clone, Debug)]
pub struct CameraFacts {
    /// Resolved name of its images' topic.
    pub topic: String,
    /// Resolved name of its calibration's topic.
    pub camera_info: String,
    /// When it was subscribed to.
    pub subscribed: Instant,
}

/// A camera as the configuration has it.
#[derive(Clone, Debug)]
pub struct ExpectedCamera {
    /// Empty for one without a name.
    pub name: String,
    /// Images per second that should come, Hz.
    pub rate: Option<f64>,
}

/// The model, once it is loaded.
#[derive(Clone, Debug, Default)]
pub struct ModelFacts {
    /// What it is, in a line.
    pub summary: String,
    /// Names and values.
    pub values: Vec<(String, String)>,
}

/// The engine, once it serves.
#[derive(Clone, Debug, Default)]
pub struct EngineFacts {
    /// Such as `compiled + graph`.
    pub kind: String,
    /// Arithmetic and device of the model.
    pub place: String,
    /// Time of a forward pass at start.
    pub warm: String,
    /// Forward passes side by side.
    pub n_streams: usize,
    /// Why a better one does not serve.
    pub fell_back: Option<String>,
    /// How to get a better one.
    pub hint: Option<String>,
}

/// How the node is on the network.
#[derive(Clone, Debug, Default)]
pub struct TransportFacts {
    /// Names and values.
    pub values: Vec<(String, String)>,
}

/// What became of the messages of a topic since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Full name of the topic.
    pub topic: String,
    /// Messages that were sent whole.
    pub n_sent: u64,
    /// Messages that a newer one replaced before anything of them was sent.
    pub n_replaced: u64,
    /// How often a message waited for a receiver, by its socket or by `send_rate`.
    pub n_waits: u64,
    /// Bytes that a subscriber asked for again.
    pub repaired_bytes: u64,
}

/// What the graph shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct GraphFacts {
    /// Endpoints of incompatible peers.
    pub(crate) misfits: Vec<Misfit>,
    /// That another node has this one's name, and what helps.
    pub(crate) namesake: Option<String>,
    /// Of every camera: publishers of images that fit.
    pub(crate) n_publishers: Vec<usize>,
}

/// An endpoint of a peer that does not fit.
#[derive(Clone, Debug)]
pub(crate) struct Misfit {
    /// The camera whose input it is, if it is one's.
    pub(crate) camera: Option<usize>,
    /// Cause and cure.
    pub(crate) text: String,
}

/// A camera that has been subscribed to.
struct SubscribedCamera<'a> {
    index: usize,
    name: &'a str,
    expected_rate: Option<f64>,
    facts: &'a CameraFacts,
}

type Asked<T> = Box<dyn Fn() -> T + Send + Sync>;
type Advice = Box<dyn Fn(usize) -> Option<String> + Send + Sync>;

/// Everything that the statuses are made of. Shared by threads.
pub struct Board {
    shared: Shared,
    expected: Vec<ExpectedCamera>,
    state: Mutex<State>,
    /// What to do when images of so many bytes would be lost.
    receive_advice: Advice,
}

#[derive(Default)]
struct State {
    cameras: Vec<CameraFacts>,
    model: Option<ModelFacts>,
    engine: Option<EngineFacts>,
    transport: TransportFacts,
    graph: GraphFacts,
    /// Asked anew each time: the basis of the principal components and megabytes on the GPU.
    basis: Option<Asked<String>>,
    gpu_megabytes: Option<Asked<Option<f64>>>,
    deliveries: Option<Asked<Vec<Delivery>>>,
    jumps: Jumps,
}

impl Board {
    /// `receive_advice` says what to do when images of so many bytes would be lost.
    pub fn new(
        shared: Shared,
        expected: Vec<ExpectedCamera>,
        receive_advice: impl Fn(usize) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { shared, expected, state: Mutex::default(), receive_advice: Box::new(receive_advice) }
    }

    /// The next camera has been subscribed to.
    pub fn add_camera(&self, facts: CameraFacts) {
        self.lock().cameras.push(facts);
    }

    /// The model has been loaded; `basis` describes its principal components.
    pub fn set_model(&self, facts: ModelFacts, basis: impl Fn() -> String + Send + Sync + 'static) {
        let mut state = self.lock();
        state.model = Some(facts);
        state.basis = Some(Box::new(basis));
    }

    /// The engine is warm; `gpu_megabytes` tells what it holds there.
    pub fn set_engine(
        &self,
        facts: EngineFacts,
        gpu_megabytes: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let mut state = self.lock();
        state.engine = Some(facts);
        state.gpu_megabytes = Some(Box::new(gpu_megabytes));
    }

    /// Another engine has taken over.
    pub fn swapped(&self, kind: &str) {
        if let Some(engine) = &mut self.lock().engine {
            *engine = EngineFacts { kind: kind.to_owned(), fell_back: None, hint: None, ..engine.clone() };
        }
    }

    /// The node is on the network.
    pub fn set_transport(&self, facts: TransportFacts) {
        self.lock().transport = facts;
    }

    /// `deliveries` tells what became of the messages of each topic.
    pub fn set_deliveries(&self, deliveries: impl Fn() -> Vec<Delivery> + Send + Sync + 'static) {
        self.lock().deliveries = Some(Box::new(deliveries));
    }

    /// The graph was looked at.
    pub(crate) fn set_graph(&self, facts: GraphFacts) {
        self.lock().graph = facts;
    }

    /// How everything does at `now`: two statuses per camera, and one each for model, engine and transport.
    pub fn statuses(&self, now: Instant) -> Vec<Status> {
        let mut state = self.lock();
        let state = &mut *state;
        let mut statuses = Vec::new();
        for (index, ExpectedCamera { name, rate }) in self.expected.iter().enumerate() {
            let name = if name.is_empty() { "camera".to_owned() } else { format!("camera {name}") };
            match state.cameras.get(index) {
                Some(facts) => {
                    let camera = SubscribedCamera { index, name: &name, expected_rate: *rate, facts };
                    statuses.extend(self.camera(&camera, &state.graph, now));
                }
                None => {
                    let mut findings = Findings::new();
                    findings.warn("not subscribed yet: the model is warming up");
                    statuses.push(findings.into_status(name, ""));
                }
            }
        }
        statuses.push(model(state));
        statuses.push(self.engine(state));
        statuses.push(self.transport(state, now));
        statuses
    }

    fn camera(&self, camera: &SubscribedCamera<'_>, graph: &GraphFacts, now: Instant) -> [Status; 2] {
        let SubscribedCamera { index, name, expected_rate, facts } = *camera;
        let Shared { monitors, accounting, latencies, live, clock, .. } = &self.shared;
        let (seen, counts) = (monitors[index].seen(), accounting[index].snapshot());
        let misfits = graph.misfits.iter().filter(|misfit| misfit.camera == Some(index));
        let misfits: Vec<String> = misfits.map(|misfit| misfit.text.clone()).collect();
        let view = View {
            topic: &facts.topic,
            camera_info: &facts.camera_info,
            expected_rate,
            subscribed: facts.subscribed,
            is_enabled: live.is_enabled(),
            is_wanted: !self.shared.wanted(index).is_idle(),
            is_sim_time: clock.is_told(),
            n_publishers: graph.n_publishers.get(index).copied().unwrap_or_default(),
            misfits: &misfits,
            seen: &seen,
            counts: &counts,
            recent: &latencies[index].recent(),
            buffers: (self.receive_advice)(seen.largest_bytes),
        };
        let status = status(name, &view, now);
        let of_topic = topic_status(&view, status.level, &status.message, now);
        [status, of_topic]
    }

    fn engine(&self, state: &State) -> Status {
        let mut findings = Findings::new();
        let Some(engine) = &state.engine else {
            findings.warn("warming up");
            return findings.into_status("engine", "");
        };
        let EngineFacts { kind, place, warm, n_streams, fell_back, hint } = engine;
        if let Some(why) = fell_back {
            findings.warn(format!("fell back to {kind}: {why}"));
        }
        findings.value("engine", kind);
        findings.value("precision and device", place);
        findings.value("forward pass at start", warm);
        findings.value("streams", n_streams);
        for (n, times) in self.shared.batches.snapshot() {
            findings.value(&format!("forward passes of {n}"), times);
        }
        if let Some(megabytes) = state.gpu_megabytes.as_ref().and_then(|ask| ask()) {
            findings.value("GPU memory (MB)", format!("{megabytes:.0}"));
        }
        hint.iter().for_each(|hint| findings.value("hint", hint));
        findings.into_status("engine", format!("{kind}, {place}"))
    }

    fn transport(&self, state: &mut State, now: Instant) -> Status {
        let mut findings = Findings::new();
        let clock = &self.shared.clock;
        state
            .graph
            .misfits
            .iter()
            .filter(|misfit| misfit.camera.is_none())
            .for_each(|misfit| findings.warn(&misfit.text));
        state.graph.namesake.iter().for_each(|text| findings.warn(text));
        if clock.is_told() && clock.now_nanos().is_none() {
            findings.warn(
                "use_sim_time is true and nothing has arrived on /clock: start the bag with --clock, \
            or the simulator",
            );
        }
        let (n_jumps, news) = state.jumps.look(clock, now);
        news.iter().for_each(|text| findings.warn(text));
        findings.values.clone_from(&state.transport.values);
        findings.value("time", if clock.is_told() { "/clock" } else { "this machine's" });
        findings.value("clock jumps", n_jumps);
        findings.value("incompatible peers", state.graph.misfits.len());
        if let Some(ask) = &state.deliveries {
            delivered(&mut findings, &ask());
        }
        let well = if state.graph.misfits.is_empty() {
            "every peer fits"
        } else {
            "incompatible peers: see the cameras"
        };
        findings.into_status("transport", well)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// What was handed over is what was sent and what was replaced, but for what is under way.
fn delivered(findings: &mut Findings, deliveries: &[Delivery]) {
    let total = |count: fn(&Delivery) -> u64| deliveries.iter().map(count).sum::<u64>();
    findings.value("messages sent", total(|topic| topic.n_sent));
    findings.value("messages replaced by a newer one before they were sent", total(|topic| topic.n_replaced));
    for Delivery { topic, n_replaced, .. } in deliveries.iter().filter(|topic| topic.n_replaced > 0) {
        findings.value(&format!("replaced on {topic}"), n_replaced);
    }
    findings.value("waits for receivers", total(|topic| topic.n_waits));
    findings.value("repaired (MB)", format!("{:.1}", total(|topic| topic.repaired_bytes) as f64 / 1e6));
}

fn model(state: &State) -> Status {
    let mut findings = Findings::new();
    let Some(ModelFacts { summary, values }) = &state.model else {
        findings.warn("warming up: the model is being loaded");
        return findings.into_status("model", "");
    };
    findings.values.clone_from(values);
    state.basis.iter().for_each(|ask| findings.value("PCA basis", ask()));
    findings.into_status("model", summary)
}
