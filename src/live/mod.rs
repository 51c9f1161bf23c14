//! The live page: the model at work in a browser. The only room that knows HTTP. For the pipeline it is one
//! more [`Sink`](crate::stages::publish::Sink), the [`ViewerSink`], and what its pages look at is wanted like a
//! topic with a subscriber; with a [`Feed`], pages and a folder are the camera. `docs/live.md` has the protocol.

mod access;
mod assets;
mod camera_file;
mod feed;
mod folder;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod messages;
mod pupils;
mod serve;
mod sink;
mod snapshot;
mod socket;
mod viewers;
mod waits;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};

use anyhow::Context;
use tokio::sync::watch;

use crate::pipeline::Shared;
use crate::runtime::thread::Stage;
use crate::stages::derive::Common;
use access::Access;

pub use feed::Feed;
pub use folder::Folder;
pub use messages::{About, AboutModel};
pub use sink::ViewerSink;
pub use viewers::Viewers;

/// The largest image that a page may send, bytes.
const MAX_IMAGE_BYTES: usize = 8 << 20;

/// Where the page is served.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    access: Access,
}

impl Door {
    /// Takes `port` of `address`.
    ///
    /// # Errors
    /// The port is taken, or the address is not one of this machine.
    pub fn open(address: IpAddr, port: u16) -> anyhow::Result<Self> {
        let socket = SocketAddr::new(address, port);
        let listener = TcpListener::bind(socket).with_context(|| {
            format!(
                "the live page cannot be served at {socket}: choose another port with live_port, or another \
                 address with live_address"
            )
        })?;
        listener.set_nonblocking(true)?;
        let access = Access::new(listener.local_addr()?)?;
        Ok(Self { listener, access })
    }

    /// The address to open in a browser, token and all.
    pub fn url(&self) -> String {
        self.access.url()
    }
}

/// What the page shows and does.
pub struct Content {
    /// What does not change while the node runs.
    pub about: About,
    /// What the pipeline's threads share.
    pub shared: Shared,
    /// The principal components, which a page may reset, and the teaching, if there is any.
    pub common: Common,
    /// The pages that look on; the pipeline's [`ViewerSink`] shows frames to the same ones.
    pub viewers: Arc<Viewers>,
    /// Where pages and a folder put images; `None` where the node has cameras.
    pub feed: Option<Feed>,
}

/// The thread that serves the page.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    stage: Stage,
}

impl Server {
    /// Serves `content` at `door`; `ended` hears of the thread's end.
    ///
    /// # Errors
    /// A thread or its event loop cannot be had.
    pub fn start(door: Door, content: Content, ended: &mpsc::Sender<()>) -> anyhow::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .context("the live page has no event loop")?;
        let Door { listener, access } = door;
        let run = move || {
            let desk = Arc::new(socket::Desk::new(content, stopping.clone()));
            runtime.block_on(serve::serve(listener, access, desk, stopping))
        };
        Ok(Self { stop, stage: Stage::spawn("live", ended.clone(), run)? })
    }

    /// Says goodbye to the pages, and lets go of the feed.
    ///
    /// # Errors
    /// As the thread ended.
    pub fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.stage.join()
    }
}
