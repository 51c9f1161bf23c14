//! One camera's topics: a thread of its own takes each image straight into a leased buffer.

mod topics;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::bail;
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::{FutureExt, StreamExt, pin_mut, select_biased};
use ros2_client::dds::rustdds::Topic as DdsTopic;
use ros2_client::{ReadError, Subscription};
use serde::de::{Deserialize, DeserializeSeed, Deserializer};
use serde_bytes::Bytes;
use smol::Timer;

use super::checks::receive_buffer_advice;
use super::wire::calibration::calibration;
use super::wire::messages::{CameraInfo, CompressedImage, Image, PointStamped};
use crate::config::{CameraConfig, ImageTransport, Reliability};
use crate::geometry::Projection;
use crate::logging::{BETWEEN_WARNINGS, Throttle};
use crate::runtime::pool::Pool;
use crate::runtime::thread::Stage;
use crate::stages::camera::{CameraImage, CameraListener, Frame, Header, Raster};

pub use topics::CameraTopics;

/// Time between two looks at what DDS has passed over.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// A camera to subscribe to.
pub struct CameraInput {
    /// Index in the configuration; frames carry it.
    pub index: usize,
    /// Before `image` and `camera_info`: empty for a single camera, such as `left/` for one of several.
    pub prefix: String,
    /// Raw or compressed topics.
    pub transport: ImageTransport,
    /// What is asked of the publisher.
    pub reliability: Reliability,
    /// Bytes of the largest message on the image topic.
    pub max_message_bytes: usize,
    /// Buffers for the images' bytes.
    pub pool: Pool,
}

/// Bytes of the largest pixel, twice: rows may have padding, and what is a little too large is refused by
/// name.
const MAX_PIXEL_BYTES: u64 = 2 * 8;
/// Of a message without pixels, generously.
pub(super) const MAX_PLAIN_MESSAGE_BYTES: usize = 64 << 10;

impl CameraInput {
    /// The camera with this index and configuration, whose images may have so many pixels.
    pub fn new(index: usize, config: &CameraConfig, max_image_pixels: u64) -> Self {
        let CameraConfig { transport, reliability, .. } = *config;
        let pixels = usize::try_from(max_image_pixels.saturating_mul(MAX_PIXEL_BYTES)).unwrap_or(usize::MAX);
        let max_message_bytes = pixels.saturating_add(MAX_PLAIN_MESSAGE_BYTES);
        Self {
            index,
            prefix: config.prefix(),
            transport,
            reliability,
            max_message_bytes,
            pool: Pool::default(),
        }
    }
}

/// An image as it came, before it is a [`Frame`].
pub(super) struct Sample {
    received: Instant,
    header: Header,
    image: CameraImage,
}

/// Copies a sample out of the reader's cache, pixels in one block.
#[derive(Clone)]
pub(super) struct CopyOut {
    pub(super) transport: ImageTransport,
    pub(super) pool: Pool,
}

impl<'de> DeserializeSeed<'de> for CopyOut {
    type Value = Sample;

    fn deserialize<D: Deserializer<'de>>(self, message: D) -> Result<Sample, D::Error> {
        let received = Instant::now();
        let copy = |data: &Bytes| {
            let mut bytes = self.pool.lease();
            bytes.clear();
            bytes.extend_from_slice(data);
            bytes
        };
        let (header, image) = match self.transport {
            ImageTransport::Raw => {
                let image = Image::<&Bytes>::deserialize(message)?;
                let raster = Raster {
                    bytes: copy(image.data),
                    encoding: image.encoding,
                    width: image.width,
                    height: image.height,
                    step: image.step,
                    big_endian: image.is_bigendian != 0,
                };
                (image.header, CameraImage::Raw(raster))
            }
            ImageTransport::Compressed => {
                let image = CompressedImage::<&Bytes>::deserialize(message)?;
                let file = copy(image.data);
                (image.header, CameraImage::Compressed(file))
            }
        };
        Ok(Sample { received, header: header.into(), image })
    }
}

/// What one receive thread reads.
pub(super) struct Reading {
    pub(super) images: Subscription<Sample>,
    /// Topic of `images`, which counts what was too large.
    pub(super) image_topic: DdsTopic,
    pub(super) infos: Subscription<CameraInfo>,
    pub(super) queries: Subscription<PointStamped>,
}

/// A running receive thread.
pub(super) struct Receiving {
    stop: oneshot::Sender<()>,
    stage: Stage,
}

impl Receiving {
    /// Takes images until [`Receiving::stop`].
    pub(super) fn start(
        camera: CameraInput,
        topics: CameraTopics,
        reading: Reading,
        listener: Box<dyn CameraListener>,
        ended: mpsc::Sender<()>,
    ) -> anyhow::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let name = match camera.prefix.trim_end_matches('/') {
            "" => format!("receive-{}", camera.index),
            prefix => format!("receive-{prefix}"),
        };
        let stage =
            Stage::spawn(name, ended, move || block_on(receive(camera, topics, reading, listener, stopped)))?;
        Ok(Self { stop, stage })
    }

    /// Unsubscribes and waits for the thread.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.stage.join()
    }
}

async fn receive(
    camera: CameraInput,
    topics: CameraTopics,
    reading: Reading,
    mut listener: Box<dyn CameraListener>,
    stopped: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let Reading { images, image_topic, infos, queries } = reading;
    let samples = images.async_stream_seed(CopyOut { transport: camera.transport, pool: camera.pool });
    let (infos, queries) = (infos.async_stream(), queries.async_stream());
    let mut stopped = stopped.fuse();
    pin_mut!(samples, infos, queries);
    let (mut newest_info, projection) = (None, Projection::of_topic(&topics.image));
    let (bad_info, bad_query) = (Throttle::new(BETWEEN_WARNINGS), Throttle::new(BETWEEN_WARNINGS));
    let mut buffers = Buffers::default();
    let (mut n_oversized, mut looks) = (0, StreamExt::fuse(Timer::interval(BETWEEN_LOOKS)));
    loop {
        // Calibration first: a frame gets what was sent before it.
        select_biased! {
            _ = stopped => return Ok(()),
            info = infos.select_next_some() => match info {
                Ok((info, _)) => newest_info = Some(Arc::new(calibration(info, projection))),
                Err(ReadError::Deserialization { reason }) => {
                    if bad_info.admit().is_some() {
                        tracing::warn!("{}: not a CameraInfo message: {reason}", topics.camera_info);
                    }
                }
                Err(err) => bail!("{}: {err}", topics.camera_info),
            },
            query = queries.select_next_some() => match query {
                Ok((PointStamped { point, .. }, _)) => listener.query([point.x, point.y]),
                Err(ReadError::Deserialization { reason }) => {
                    if bad_query.admit().is_some() {
                        tracing::warn!("query: not a PointStamped message: {reason}");
                    }
                }
                Err(err) => bail!("query: {err}"),
            },
            _ = looks.select_next_some() => {
                let n = image_topic.n_oversized_samples();
                for _ in n_oversized..n {
                    listener.refused(&format!(
                        "it has more than {} bytes, which max_image_pixels rules out",
                        camera.max_message_bytes
                    ));
                }
                n_oversized = n;
            }
            sample = samples.select_next_some() => match sample {
                Ok((sample, _)) => {
                    buffers.check(&topics.image, sample.image.n_bytes());
                    listener.frame(Frame {
                        header: sample.header,
                        camera: camera.index,
                        received: sample.received,
                        image: sample.image,
                        intrinsics: newest_info.clone(),
                    });
                }
                Err(ReadError::Deserialization { reason }) => listener.refused(&reason),
                Err(err) => bail!("{}: {err}", topics.image),
            },
        }
    }
}

/// Warns once when images are larger than the socket can take.
#[derive(Default)]
struct Buffers {
    largest_bytes: usize,
    warned: bool,
}

impl Buffers {
    fn check(&mut self, topic: &str, frame_bytes: usize) {
        if self.warned || frame_bytes <= self.largest_bytes {
            return;
        }
        self.largest_bytes = frame_bytes;
        if let Some(advice) = receive_buffer_advice(frame_bytes) {
            self.warned = true;
            tracing::warn!("{topic}: {advice}");
        }
    }
}

#[cfg(test)]
mod tests {
    use ros2_client::dds::rustdds::RepresentationIdentifier;
    use ros2_client::dds::rustdds::no_key::SerializerAdapter;
    use ros2_client::dds::rustdds::serialization::{
        CDRSerializerAdapter, deserialize_from_cdr_with_decoder_and_rep_id,
    };
    use serde::Serialize;
    use serde_bytes::ByteBuf;

    use super::*;
    use crate::ros::wire::messages;

    fn wire<M: Serialize>(message: &M) -> Vec<u8> {
        <CDRSerializerAdapter<M> as SerializerAdapter<M>>::to_bytes(message).unwrap().to_vec()
    }

    fn read(bytes: &[u8], transport: ImageTransport, pool: &Pool) -> Option<Sample> {
        let seed = CopyOut { transport, pool: pool.clone() };
        let encoding = RepresentationIdentifier::CDR_LE;
        deserialize_from_cdr_with_decoder_and_rep_id(bytes, encoding, seed).ok().map(|(sample, _)| sample)
    }

    fn header() -> messages::Header {
        messages::Header { stamp: messages::Time { sec: -1, nanosec: 7 }, frame_id: "optical".into() }
    }

    #[test]
    fn an_image_comes_out_whole_and_its_buffer_is_used_again() {
        let image = Image {
            header: header(),
            height: 2,
            width: 3,
            encoding: "mono8".to_owned(),
            is_bigendian: 0,
            step: 3,
            data: ByteBuf::from([1, 2, 3, 4, 5, 6]),
        };
        let pool = Pool::default();
        let place = |sample: &Sample| match &sample.image {
            CameraImage::Raw(raster) => raster.bytes.as_ptr(),
            CameraImage::Compressed(file) => file.as_ptr(),
        };
        let first = read(&wire(&image), ImageTransport::Raw, &pool).unwrap();
        let before = place(&first);
        let CameraImage::Raw(raster) = &first.image else { panic!("not raw") };
        assert_eq!((raster.width, raster.height, raster.step, raster.big_endian), (3, 2, 3, false));
        assert_eq!((raster.encoding.as_str(), raster.bytes.as_slice()), ("mono8", &[1, 2, 3, 4, 5, 6][..]));
        assert_eq!(first.header, header().into());
        drop(first);
        let again = read(&wire(&image), ImageTransport::Raw, &pool).unwrap();
        assert_eq!(place(&again), before);
    }

    #[test]
    fn names_of_any_length_are_refused_before_they_are_copied() {
        let pool = Pool::default();
        let image = |encoding: usize, frame_id: usize| Image {
            header: messages::Header { frame_id: "f".repeat(frame_id), ..header() },
            height: 1,
            width: 1,
            encoding: "e".repeat(encoding),
            is_bigendian: 0,
            step: 1,
            data: ByteBuf::from([1]),
        };
        for (encoding, frame_id, is_read) in
            [(256, 256, true), (257, 1, false), (1, 257, false), (1 << 20, 1, false), (1, 10 << 20, false)]
        {
            let sample = read(&wire(&image(encoding, frame_id)), ImageTransport::Raw, &pool);
            assert_eq!(sample.is_some(), is_read, "{encoding} {frame_id}");
        }
        let file = |format: &str| CompressedImage {
            header: header(),
            format: format.to_owned(),
            data: ByteBuf::from([9; 40]),
        };
        assert!(read(&wire(&file("jpeg")), ImageTransport::Compressed, &pool).is_some());
        assert!(read(&wire(&file(&"x".repeat(300))), ImageTransport::Compressed, &pool).is_none());
    }

    #[test]
    fn a_message_cut_short_anywhere_is_refused() {
        let file =
            CompressedImage { header: header(), format: "jpeg".to_owned(), data: ByteBuf::from([9; 40]) };
        let (bytes, pool) = (wire(&file), Pool::default());
        assert!(read(&bytes, ImageTransport::Compressed, &pool).is_some());
        for n in 0..bytes.len() {
            assert!(read(&bytes[..n], ImageTransport::Compressed, &pool).is_none(), "{n} bytes");
        }
        assert!(read(&[0xff; 64], ImageTransport::Raw, &pool).is_none());
    }
}
