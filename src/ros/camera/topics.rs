//! What a camera's topics are called, after remapping.

use crate::config::ImageTransport;
use crate::ros::start::names::{NameError, Names};

/// Full names of one camera's topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraTopics {
    /// Images.
    pub image: String,
    /// Calibration.
    pub camera_info: String,
}

/// What image_transport adds to the name of a compressed topic.
const COMPRESSED: &str = "/compressed";

impl CameraTopics {
    /// Remaps `image`, adds the transport's suffix, and finds `camera_info` beside it unless that was
    /// remapped itself. The name with the suffix may be remapped as well, before or after `image`.
    ///
    /// # Errors
    /// A remap rule that leads to an impossible name.
    pub fn resolve(names: &Names, prefix: &str, transport: ImageTransport) -> Result<Self, NameError> {
        let namespace = names.namespace().trim_end_matches('/');
        // The name after remapping, if a rule is for it.
        let remapped = |name: &str| {
            let resolved = names.resolve(name)?;
            let unchanged =
                if name.starts_with('/') { name.to_owned() } else { format!("{namespace}/{name}") };
            Ok((resolved != unchanged).then_some(resolved))
        };
        let base = names.resolve(&format!("{prefix}image"))?;
        let image = match transport {
            ImageTransport::Raw => base,
            ImageTransport::Compressed => {
                let appended = format!("{base}{COMPRESSED}");
                let own = remapped(&format!("{prefix}image{COMPRESSED}"))?;
                let own = own.map_or_else(|| remapped(&appended), |own| Ok(Some(own)))?;
                own.unwrap_or(appended)
            }
        };
        let camera_info = remapped(&format!("{prefix}camera_info"))?.unwrap_or_else(|| {
            let base = match transport {
                ImageTransport::Raw => image.as_str(),
                ImageTransport::Compressed => image.strip_suffix(COMPRESSED).unwrap_or(&image),
            };
            format!("{}/camera_info", base.rsplit_once('/').map_or("", |(folder, _)| folder))
        });
        Ok(Self { image, camera_info })
    }

    /// What the name of the images lets one expect, for a warning; nothing where it looks well.
    pub fn doubt(&self, transport: ImageTransport) -> Option<String> {
        let Self { image, .. } = self;
        let base = image.strip_suffix(COMPRESSED)?;
        match transport {
            ImageTransport::Compressed if base.ends_with(COMPRESSED) => Some(format!(
                "{image} has the suffix of compressed images twice: remap `image` to the name without it, or \
                 `image{COMPRESSED}` to the whole name"
            )),
            ImageTransport::Compressed => None,
            ImageTransport::Raw => Some(format!(
                "{image} is the name of compressed images, and raw ones are read: start the node with -p \
                 image_transport:=compressed, and remap `image` to {base}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ros::start::args::remap;

    fn check(remaps: &[&str], prefix: &str, transport: ImageTransport, image: &str, camera_info: &str) {
        let rules: Vec<_> = remaps.iter().map(|rule| remap(rule).unwrap()).collect();
        let names = Names::new("pixio_node", &rules).unwrap();
        let topics = CameraTopics::resolve(&names, prefix, transport).unwrap();
        assert_eq!((topics.image.as_str(), topics.camera_info.as_str()), (image, camera_info));
    }

    #[test]
    fn calibration_is_beside_the_remapped_image_unless_it_is_remapped_itself() {
        use ImageTransport::{Compressed, Raw};
        check(&[], "", Raw, "/image", "/camera_info");
        check(&["__ns:=/cam"], "", Raw, "/cam/image", "/cam/camera_info");
        check(&["__ns:=/cam"], "left/", Raw, "/cam/left/image", "/cam/left/camera_info");
        check(&["image:=/usb/image_raw"], "", Raw, "/usb/image_raw", "/usb/camera_info");
        check(&["image:=/image_raw"], "", Raw, "/image_raw", "/camera_info");
        let compressed = "/usb/image_raw/compressed";
        check(&["image:=/usb/image_raw"], "", Compressed, compressed, "/usb/camera_info");
        let both = ["image:=/usb/image_raw", "camera_info:=/calibration"];
        check(&both, "", Raw, "/usb/image_raw", "/calibration");
        check(&["left/image:=/l"], "left/", Raw, "/l", "/camera_info");
    }

    #[test]
    fn the_name_of_compressed_images_can_be_remapped_itself() {
        use ImageTransport::{Compressed, Raw};
        let whole = "/cam/image_raw/compressed";
        check(&["image/compressed:=/cam/image_raw/compressed"], "", Compressed, whole, "/cam/camera_info");
        check(&["/image/compressed:=/jpegs"], "", Compressed, "/jpegs", "/camera_info");
        check(&["image/compressed:=/jpegs"], "", Raw, "/image", "/camera_info");
        check(
            &["image:=/cam/image_raw", "/cam/image_raw/compressed:=/a/b"],
            "",
            Compressed,
            "/a/b",
            "/a/camera_info",
        );
        check(&["left/image/compressed:=/l/c"], "left/", Compressed, "/l/c", "/l/camera_info");
        let both = ["image:=/cam/image_raw", "image/compressed:=/jpegs/c"];
        check(&both, "", Compressed, "/jpegs/c", "/jpegs/camera_info");
        check(&["image/compressed:=/x/c", "camera_info:=/i"], "", Compressed, "/x/c", "/i");
        check(&["__ns:=/r", "image/compressed:=c"], "", Compressed, "/r/c", "/r/camera_info");
        check(&["__ns:=/r"], "", Compressed, "/r/image/compressed", "/r/camera_info");
    }

    #[test]
    fn a_suffix_that_does_not_fit_the_transport_gets_a_hint() {
        let check = |image: &str, transport, expect: Option<&str>| {
            let topics = CameraTopics { image: image.into(), camera_info: String::new() };
            let doubt = topics.doubt(transport);
            assert_eq!(doubt.is_some(), expect.is_some(), "{doubt:?}");
            assert!(doubt.unwrap_or_default().contains(expect.unwrap_or_default()));
        };
        check("/cam/image_raw/compressed", ImageTransport::Compressed, None);
        check(
            "/cam/image_raw/compressed/compressed",
            ImageTransport::Compressed,
            Some("twice: remap `image`"),
        );
        check("/cam/image_raw/compressed", ImageTransport::Raw, Some("remap `image` to /cam/image_raw"));
        check("/cam/image_raw", ImageTransport::Raw, None);
    }
}
