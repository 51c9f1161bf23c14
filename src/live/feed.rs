//! Where the images of `pixio_node live` come from: a page, or a folder as long as no page feeds.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::folder::Folder;
use super::messages::SourceKind;
use super::viewers::Viewers;
use crate::geometry::Calibration;
use crate::pipeline::{Intake, Shared};
use crate::runtime::lock::lock;
use crate::runtime::statistics::Counts;
use crate::stages::camera::{CameraImage, CameraListener, Frame, Header, Stamp};

/// The one camera that pages and the folder share.
const CAMERA: usize = 0;

/// Between two images of the folder.
const FOLDER_PERIOD: Duration = Duration::from_millis(100);

/// Frames of a page that are in the pipeline at once: one in the model and one on the way to it.
const MOST_IN_FLIGHT: u64 = 2;

/// How many images a page may send: as many as the pipeline holds, and one more for each that has come out.
/// What newer images displace lets no further ones in, or a page would send as many as the network carries.
#[derive(Debug)]
pub(super) struct Credit {
    n_images: u64,
    n_finished: u64,
}

/// The camera of `pixio_node live`.
pub struct Feed {
    intake: Mutex<Intake>,
    shared: Shared,
    folder: Option<Folder>,
    source: watch::Sender<Source>,
}

/// Who feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The folder, or nobody where there is none.
    Folder,
    /// A page, by its number.
    Page(u64),
}

impl Feed {
    /// Puts images into `intake`, those of `folder` first.
    pub fn new(intake: Intake, shared: Shared, folder: Option<Folder>) -> Self {
        Self { intake: Mutex::new(intake), shared, folder, source: watch::Sender::new(Source::Folder) }
    }

    /// The folder's name, if there is one.
    pub(super) fn folder_name(&self) -> Option<String> {
        self.folder.as_ref().map(Folder::name)
    }

    /// Who feeds, now and at every change.
    pub(super) fn source(&self) -> watch::Receiver<Source> {
        self.source.subscribe()
    }

    /// What `source` is called.
    pub(super) fn kind(&self, source: Source) -> SourceKind {
        match source {
            Source::Page(_) => SourceKind::Page,
            Source::Folder if self.folder.is_some() => SourceKind::Folder,
            Source::Folder => SourceKind::None,
        }
    }

    /// The page feeds from now on.
    pub(super) fn take_over(&self, page: u64) {
        self.source.send_replace(Source::Page(page));
    }

    /// The folder feeds from now on.
    pub(super) fn play_folder(&self) {
        self.source.send_replace(Source::Folder);
    }

    /// The folder feeds if `page` did.
    pub(super) fn leave(&self, page: u64) {
        self.source.send_if_modified(|source| {
            let did = *source == Source::Page(page);
            if did {
                *source = Source::Folder;
            }
            did
        });
    }

    pub(super) fn is_fed_by(&self, page: u64) -> bool {
        *self.source.borrow() == Source::Page(page)
    }

    /// The credit of a page that begins to feed.
    pub(super) fn credit(&self) -> Credit {
        Credit::of(&self.shared.accounting[CAMERA].snapshot())
    }

    /// Whether the page may send another image now, which takes it off its `credit`.
    pub(super) fn takes_more(&self, credit: &mut Credit) -> bool {
        credit.takes_more(&self.shared.accounting[CAMERA].snapshot())
    }

    /// Puts a JPEG or PNG file of `page` into the pipeline.
    pub(super) fn push(&self, page: u64, stamp: Stamp, file: Vec<u8>) {
        self.put(Header { stamp, frame_id: frame_id(page) }, file, None);
    }

    /// Plays the folder while it feeds and somebody looks. Ends with its task.
    pub(super) async fn play(self: Arc<Self>, viewers: Arc<Viewers>) {
        let Some(folder) = &self.folder else { return };
        let mut ticks = interval(FOLDER_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut index = 0;
        loop {
            ticks.tick().await;
            if *self.source.borrow() != Source::Folder || !viewers.is_viewed(CAMERA) {
                continue;
            }
            match folder.read(index) {
                Ok(file) => {
                    let header = Header { stamp: now(), frame_id: "folder".into() };
                    self.put(header, file, folder.calibration.clone());
                }
                Err(err) => lock(&self.intake).refused(&format!("{err:#}")),
            }
            index = index.wrapping_add(1);
        }
    }

    fn put(&self, header: Header, file: Vec<u8>, intrinsics: Option<Arc<Calibration>>) {
        let image = CameraImage::Compressed(file.into());
        let frame = Frame { header, camera: CAMERA, received: Instant::now(), image, intrinsics };
        lock(&self.intake).frame(frame);
    }
}

impl Credit {
    fn of(counts: &Counts) -> Self {
        Self { n_images: MOST_IN_FLIGHT, n_finished: finished(counts) }
    }

    fn takes_more(&mut self, counts: &Counts) -> bool {
        if counts.in_flight() == 0 {
            *self = Self::of(counts);
        }
        let n_new = finished(counts).saturating_sub(self.n_finished);
        self.n_finished += n_new;
        self.n_images = (self.n_images + n_new).min(MOST_IN_FLIGHT);
        let takes = 0 < self.n_images && counts.in_flight() < MOST_IN_FLIGHT;
        self.n_images -= u64::from(takes);
        takes
    }
}

/// Frames that have come to an end of their own.
fn finished(counts: &Counts) -> u64 {
    counts.published + counts.refused + counts.unwanted
}

/// The `frame_id` of the images of a page.
pub(super) fn frame_id(page: u64) -> String {
    format!("page_{page}")
}

fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp { sec: i32::try_from(since.as_secs()).unwrap_or(i32::MAX), nanosec: since.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_sends_two_images_and_then_one_for_each_that_came_out() {
        let mut counts = Counts { received: 7, published: 7, ..Counts::default() };
        let mut credit = Credit::of(&counts);
        let mut sends = |counts: &mut Counts| {
            let takes = credit.takes_more(counts);
            counts.received += u64::from(takes);
            takes
        };
        assert_eq!([(); 3].map(|()| sends(&mut counts)), [true, true, false]);
        // The second one is displaced by nobody's doing: nothing has come out.
        counts.displaced += 1;
        assert!(!sends(&mut counts));
        counts.published += 1;
        assert_eq!([(); 3].map(|()| sends(&mut counts)), [true, true, false]);
        counts.refused += 1;
        assert_eq!([(); 2].map(|()| sends(&mut counts)), [true, false]);
    }
}
