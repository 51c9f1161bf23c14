//! What this machine's kernel allows, against what images of a given size need.

/// The largest receive buffer that a socket may ask for.
const RMEM_MAX: &str = "/proc/sys/net/core/rmem_max";
/// Enough for 1080p colour; what the cure asks for at least.
const GENEROUS: usize = 4 << 20;

/// Receive buffers of the kernel's sockets, in bytes. `None` where it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveBuffers {
    /// `net.core.rmem_max`: what our sockets get.
    pub max: Option<usize>,
}

impl ReceiveBuffers {
    /// As they are now.
    pub fn of_this_machine() -> Self {
        let read = |path| std::fs::read_to_string(path).ok()?.trim().parse().ok();
        Self { max: read(RMEM_MAX) }
    }

    /// What to do when images of `frame_bytes` would be lost; `None` when all is well.
    pub fn advice(self, frame_bytes: usize) -> Option<String> {
        let max = self.max?;
        // Measured at 30 Hz: images arrive whole while two thirds of one fit into the buffer.
        let needed = frame_bytes / 3 * 2;
        (max < needed).then(|| {
            let cure = needed.next_power_of_two().max(GENEROUS);
            format!(
                "net.core.rmem_max is {max} bytes, too small for images of {frame_bytes} bytes: many will \
                 be lost; run: sudo sysctl -w net.core.rmem_max={cure}"
            )
        })
    }
}

/// [`ReceiveBuffers::advice`] for this machine as it is now.
pub fn receive_buffer_advice(frame_bytes: usize) -> Option<String> {
    ReceiveBuffers::of_this_machine().advice(frame_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_cure_when_two_thirds_of_an_image_do_not_fit() {
        let check = |max: Option<usize>, frame_bytes, expect: Option<&str>| {
            let advice = ReceiveBuffers { max }.advice(frame_bytes);
            let cure = advice.as_deref().and_then(|text| text.rsplit(' ').next());
            assert_eq!(cure, expect, "{advice:?}");
        };
        check(None, 1 << 30, None);
        check(Some(212_992), 640 * 480 / 2, None);
        check(Some(212_992), 640 * 480 * 3, Some("net.core.rmem_max=4194304"));
        check(Some(4_194_304), 1920 * 1080 * 3, None);
        check(Some(4_194_304), 3840 * 2160 * 3, Some("net.core.rmem_max=16777216"));
    }
}
