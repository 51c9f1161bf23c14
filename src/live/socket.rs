//! One page over its WebSocket: what it is shown, and what it says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use tokio::sync::watch;
use tokio::time::timeout;

use super::feed::{Credit, Feed, Source, frame_id};
use super::messages::{
    About, AboutImage, FromPage, Hello, Level, Mode, Panel, SourceKind, StageTimes, Status, ToPage,
};
use super::pupils::Pupils;
use super::snapshot::Snapshot;
use super::viewers::{Look, Seat, Viewers};
use super::waits::{changed, every, stops};
use super::{Content, MAX_IMAGE_BYTES, framing};
use crate::pipeline::Shared;
use crate::runtime::statistics::Counts;
use crate::stages::derive::Common;

/// How long a page may take to take a message.
const SEND_TIME: Duration = Duration::from_secs(10);
/// Between two pings.
const PING_PERIOD: Duration = Duration::from_secs(10);
/// A page that was not heard of for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// Between two looks at whether the pipeline takes another image; frames that come out are heard of at once.
const NEXT_PERIOD: Duration = Duration::from_millis(10);
/// How long pages have to hear of the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Frames that a page may still point at.
const MOST_SENT: usize = 4;

/// The largest text message that a page may send, bytes.
const MOST_TEXT_BYTES: usize = 4096;

/// The largest binary one: an image and what stands before it.
pub(super) const MOST_MESSAGE_BYTES: usize = MAX_IMAGE_BYTES + 4096;

/// Without ROS there is no service that would keep it.
const RESET: &str = "The colours are estimated anew from the next images, until this program ends.";

/// Codes of RFC 6455.
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;

/// What all pages share.
pub(super) struct Desk {
    about: About,
    shared: Shared,
    common: Common,
    viewers: Arc<Viewers>,
    feed: Option<Arc<Feed>>,
    stopping: watch::Receiver<bool>,
}

/// One page.
pub(super) struct Viewer {
    desk: Arc<Desk>,
    seat: Seat,
    look: Look,
    frames: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Whether a frame is on its way to the page, or being drawn there.
    is_drawing: bool,
    /// Whether the page waits for [`ToPage::Next`].
    is_next_due: bool,
    /// Of a page that feeds.
    credit: Option<Credit>,
    /// [`Snapshot::number`] of the frame that the page got last.
    last: Option<u64>,
    /// The frames that it got, the newest last: it may point at what it shows.
    sent: VecDeque<Arc<Snapshot>>,
    pupils: Pupils,
    skipped: u64,
    last_status: (Instant, Counts),
}

/// Why a page is attended no more.
enum Gone {
    /// It left, or takes nothing.
    Lost,
    /// It is told to go, and why.
    Told { code: u16, reason: &'static str },
}

impl Desk {
    pub(super) fn new(content: Content, stopping: watch::Receiver<bool>) -> Self {
        let Content { about, shared, common, viewers, feed } = content;
        Self { about, shared, common, viewers, feed: feed.map(Arc::new), stopping }
    }

    /// Plays the folder, where there is a feed.
    pub(super) fn play(&self) -> Option<impl Future<Output = ()> + use<>> {
        let feed = self.feed.as_ref().map(Arc::clone)?;
        Some(feed.play(Arc::clone(&self.viewers)))
    }

    /// A place for one more page, if there is one.
    pub(super) fn join(self: &Arc<Self>) -> Option<Viewer> {
        let frames = self.viewers.frames(0)?;
        Some(Viewer {
            seat: self.viewers.join()?,
            look: Look::default(),
            frames,
            is_drawing: false,
            is_next_due: false,
            credit: None,
            last: None,
            sent: VecDeque::new(),
            pupils: Pupils::default(),
            skipped: 0,
            last_status: (Instant::now(), self.shared.accounting[0].snapshot()),
            desk: Arc::clone(self),
        })
    }

    /// Waits until the pages have heard of the end, or long enough.
    pub(super) async fn farewell(&self) {
        let deadline = Instant::now() + FAREWELL;
        while 0 < self.viewers.n_pages() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn hello(&self) -> Hello {
        let mode = if self.feed.is_some() { Mode::Live } else { Mode::Node };
        let folder = self.feed.as_ref().and_then(|feed| feed.folder_name());
        Hello::new(self.about.clone(), mode, folder)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        if let Some(feed) = &self.desk.feed {
            feed.leave(self.seat.page);
        }
    }
}

impl Viewer {
    /// Serves the page until it leaves.
    pub(super) async fn attend(mut self, mut socket: WebSocket) {
        if let Err(Gone::Told { code, reason }) = self.talk(&mut socket).await {
            let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            // What is underway would break the connection before the page has read why.
            let told = async {
                socket.send(close).await?;
                while socket.recv().await.is_some_and(|message| message.is_ok()) {}
                Ok::<_, axum::Error>(())
            };
            let _gone = timeout(FAREWELL, told).await;
        }
    }

    async fn talk(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let desk = Arc::clone(&self.desk);
        let mut stopping = desk.stopping.clone();
        let mut source = desk.feed.as_ref().map(|feed| feed.source());
        let mut statuses = every(Duration::from_secs(1));
        let mut pings = every(PING_PERIOD);
        let mut nexts = every(NEXT_PERIOD);
        let mut heard = Instant::now();

        send(socket, json(&ToPage::Hello(Box::new(desk.hello())))).await?;
        self.tell_source(socket).await?;
        self.tell_teaching(socket).await?;
        loop {
            tokio::select! {
                message = socket.recv() => {
                    heard = Instant::now();
                    let Some(Ok(message)) = message else { return Err(Gone::Lost) };
                    self.hear(socket, message).await?;
                }
                changed = self.frames.changed(), if !self.is_drawing => {
                    changed.map_err(|_| Gone::Lost)?;
                    self.show(socket).await?;
                    self.tell_next(socket).await?;
                }
                _ = nexts.tick(), if self.is_next_due => self.tell_next(socket).await?,
                answer = self.pupils.answer() => {
                    send(socket, json(&answer)).await?;
                    self.tell_teaching(socket).await?;
                }
                _ = statuses.tick() => {
                    self.tell_teaching(socket).await?;
                    self.tell_status(socket).await?;
                }
                _ = pings.tick() => {
                    if SILENCE < heard.elapsed() {
                        return Err(Gone::Lost);
                    }
                    send(socket, Message::Ping(Bytes::new())).await?;
                }
                () = changed(&mut source) => self.tell_source(socket).await?,
                () = stops(&mut stopping) => {
                    return Err(Gone::Told { code: GOING_AWAY, reason: "The node stops." });
                }
            }
        }
    }

    /// Sends the newest frame, if there is one that the page looks at.
    async fn show(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let frame = self.frames.borrow_and_update().clone();
        let Some(frame) = frame.filter(|_| !self.look.panels.is_empty()) else { return Ok(()) };
        self.skipped += self.last.map_or(0, |last| frame.number.saturating_sub(last + 1));
        self.last = Some(frame.number);
        let is_own = frame.frame_id == frame_id(self.seat.page) && self.desk.feed.is_some();
        let panels = self.look.panels.iter().copied();
        let panels: Vec<_> = panels.filter(|panel| !(is_own && *panel == Panel::Image)).collect();
        let message = frame.message(&panels).map_err(|_| Gone::Lost)?;
        if self.desk.common.teaching.is_some() {
            // Before the first frame that has a new class.
            self.tell_teaching(socket).await?;
            self.sent.push_back(frame);
            if MOST_SENT < self.sent.len() {
                self.sent.pop_front();
            }
        }
        self.is_drawing = true;
        send(socket, Message::Binary(message)).await
    }

    async fn hear(&mut self, socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
        let malformed =
            Gone::Told { code: POLICY, reason: "This is no message of the live page's protocol." };
        let too_large = Gone::Told { code: TOO_BIG, reason: "This message is too large." };
        match message {
            Message::Text(text) if MOST_TEXT_BYTES < text.len() => Err(too_large),
            Message::Binary(bytes) if MOST_MESSAGE_BYTES < bytes.len() => Err(too_large),
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(message) => self.obey(socket, message).await,
                Err(_) => Err(malformed),
            },
            Message::Binary(bytes) => match framing::split::<AboutImage>(&bytes) {
                Some((about, file)) => self.take(socket, &about, file).await,
                None => Err(malformed),
            },
            Message::Close(_) => Err(Gone::Lost),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    async fn obey(&mut self, socket: &mut WebSocket, message: FromPage) -> Result<(), Gone> {
        let desk = Arc::clone(&self.desk);
        let misplaced = Err(Gone::Told { code: POLICY, reason: "There is no such camera or source." });
        match message {
            FromPage::Look { camera, panels } => {
                if camera != self.look.camera || self.look.panels.is_empty() {
                    let Some(frames) = desk.viewers.frames(camera) else { return misplaced };
                    self.frames = frames;
                    // What came while the page looked elsewhere was not missed.
                    self.last = None;
                    if camera != self.look.camera {
                        self.sent.clear();
                    }
                }
                self.look = Look { camera, panels };
                self.seat.look(self.look.clone());
            }
            FromPage::Drawn => self.is_drawing = false,
            FromPage::Query { x, y } => desk.shared.queries[self.look.camera].ask([x, y]),
            FromPage::ResetBasis => {
                let (level, text) = match desk.common.basis.reset() {
                    Ok(_) if desk.feed.is_some() => (Level::Info, RESET.to_owned()),
                    Ok(text) => (Level::Info, text),
                    Err(err) => (Level::Warning, format!("{err:#}")),
                };
                send(socket, json(&ToPage::Notice { level, text, teaching: false })).await?;
            }
            FromPage::Source { kind } => match (&desk.feed, kind) {
                (Some(feed), SourceKind::Page) => {
                    feed.take_over(self.seat.page);
                    self.credit = Some(feed.credit());
                    self.is_next_due = true;
                }
                (Some(feed), SourceKind::Folder) => feed.play_folder(),
                _ => return misplaced,
            },
            FromPage::Teach { .. }
            | FromPage::Forget { .. }
            | FromPage::Undo
            | FromPage::SaveHead { .. }
            | FromPage::LoadHead { .. } => {
                let Some(teaching) = &desk.common.teaching else { return misplaced };
                let sent = self.sent.iter().map(Arc::as_ref);
                if let Err(refusal) = self.pupils.ask(teaching, message, sent) {
                    send(socket, json(&refusal)).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes an image of the page.
    async fn take(&mut self, socket: &mut WebSocket, about: &AboutImage, file: &[u8]) -> Result<(), Gone> {
        let Some(feed) = self.desk.feed.clone() else {
            return Err(Gone::Told { code: POLICY, reason: "This node has cameras and takes no images." });
        };
        // Another page may have taken over while this one was on its way.
        if feed.is_fed_by(self.seat.page) {
            feed.push(self.seat.page, about.stamp(), file.to_vec());
            self.is_next_due = true;
            self.tell_next(socket).await?;
        }
        Ok(())
    }

    /// Asks the page for its next image as soon as the pipeline takes one.
    async fn tell_next(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let feed = self.desk.feed.as_ref().filter(|_| self.is_next_due);
        let (Some(feed), Some(credit)) = (feed, &mut self.credit) else { return Ok(()) };
        if !feed.is_fed_by(self.seat.page) {
            self.is_next_due = false;
        } else if self.desk.viewers.is_viewed(0) && feed.takes_more(credit) {
            self.is_next_due = false;
            send(socket, json(&ToPage::Next)).await?;
        }
        Ok(())
    }

    async fn tell_source(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let Some(feed) = &self.desk.feed else { return Ok(()) };
        let source = *feed.source().borrow();
        let mine = source == Source::Page(self.seat.page);
        send(socket, json(&ToPage::Source { kind: feed.kind(source), mine })).await
    }

    /// Tells how teaching stands, if it is news to the page.
    async fn tell_teaching(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let news = self.desk.common.teaching.as_ref().and_then(|teaching| self.pupils.news(teaching));
        match news {
            Some(news) => send(socket, json(&news)).await,
            None => Ok(()),
        }
    }

    async fn tell_status(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let status = self.status();
        send(socket, json(&ToPage::Status(Box::new(status)))).await
    }

    fn status(&mut self) -> Status {
        let (shared, camera) = (&self.desk.shared, self.look.camera);
        let counts = self.counts();
        let (at, before) = std::mem::replace(&mut self.last_status, (Instant::now(), counts.clone()));
        let elapsed = at.elapsed().as_secs_f64().max(1e-3);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / elapsed;
        let seen = shared.latencies[camera].recent().into_iter().filter(|(_, span)| 0 < span.n);
        let stages: BTreeMap<_, _> =
            seen.map(|(span, times)| (span.name(), StageTimes { p50: times.p50, p95: times.p95 })).collect();
        Status {
            is_enabled: shared.live.is_enabled(),
            rate_in: rate(counts.received, before.received),
            rate_out: rate(counts.published, before.published),
            counts,
            stages,
            skipped: self.skipped,
            n_viewers: self.desk.viewers.n_pages(),
            basis: self.desk.common.basis.summary(),
            // A page has no CameraInfo to send.
            lacks: if self.desk.feed.is_some() {
                String::new()
            } else {
                shared.monitors[camera].seen().lacks
            },
        }
    }

    fn counts(&self) -> Counts {
        self.desk.shared.accounting[self.look.camera].snapshot()
    }
}

fn json(message: &ToPage) -> Message {
    // Names are strings and numbers are finite: nothing here cannot be JSON.
    Message::Text(serde_json::to_string(message).unwrap_or_default().into())
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match timeout(SEND_TIME, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone::Lost),
    }
}
