//! A JPEG's frame header (ITU-T T.81, B.2.2) and what its scans (B.2.3) have brought of it.

use super::{broken, unsupported};
use crate::geometry::Size;
use crate::stages::fit::error::FitError;
use crate::stages::fit::raster::MaxPixels;

const N_COEFFICIENTS: usize = 64;
const BYTES_PER_BLOCK: u64 = 2 * N_COEFFICIENTS as u64;

/// How coefficients are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// A component's all at once.
    Sequential,
    /// Some of them, some of their bits.
    Progressive,
}

/// One colour component.
#[derive(Clone, Debug)]
struct Component {
    id: u8,
    /// Samples per unit of the frame, in each direction.
    horizontal: u64,
    vertical: u64,
    /// For each coefficient, how many of its low bits have yet to come; nothing before the first scan with
    /// it.
    missing_bits: [Option<u8>; N_COEFFICIENTS],
}

/// The header, and how much of what it announces has come.
#[derive(Clone, Debug)]
pub(super) struct FrameHeader {
    pub(super) size: Size,
    coding: Coding,
    components: Vec<Component>,
    /// Whether every scan so far holds all components.
    is_interleaved: bool,
}

impl FrameHeader {
    /// Reads the header's `segment` behind the marker ffXX with XX the `code`.
    pub(super) fn read(code: u8, segment: &[u8], max_pixels: MaxPixels) -> Result<Self, FitError> {
        let coding = match code {
            0xc0 | 0xc1 => Coding::Sequential,
            0xc2 => Coding::Progressive,
            0xc3 => return Err(unsupported("lossless coding")),
            0xc9 | 0xca => return Err(unsupported("arithmetic coding")),
            0xcb => return Err(unsupported("lossless arithmetic coding")),
            _ => return Err(unsupported("hierarchical coding")),
        };
        let Some((&[precision, h1, h0, w1, w0, n_components], rest)) = segment.split_first_chunk() else {
            return Err(broken("its frame header is too short"));
        };
        if precision != 8 {
            return Err(unsupported(format!("{precision} bits a sample")));
        }
        match n_components {
            1 | 3 => (),
            4 => return Err(unsupported("four components (CMYK or YCCK)")),
            n => return Err(unsupported(format!("{n} components"))),
        }
        let [width, height] = [[w1, w0], [h1, h0]].map(|bytes| u32::from(u16::from_be_bytes(bytes)));
        let size = Size { width, height };
        max_pixels.check(size)?;
        let (components, rest) = rest.as_chunks::<3>();
        if components.len() != usize::from(n_components) || !rest.is_empty() {
            return Err(broken("its frame header has the wrong length"));
        }
        let components = components.iter().map(|&[id, sampling, _]| {
            let (horizontal, vertical) = (u64::from(sampling >> 4), u64::from(sampling & 15));
            if !(1..=4).contains(&horizontal) || !(1..=4).contains(&vertical) {
                return Err(broken(format!("a component is sampled {horizontal}x{vertical}")));
            }
            Ok(Component { id, horizontal, vertical, missing_bits: [None; N_COEFFICIENTS] })
        });
        let components = components.collect::<Result<_, _>>()?;
        Ok(Self { size, coding, components, is_interleaved: true })
    }

    pub(super) fn n_components(&self) -> usize {
        self.components.len()
    }

    /// Whether every coefficient of every component has come with all of its bits.
    pub(super) fn is_complete(&self) -> bool {
        let mut coefficients = self.components.iter().flat_map(|component| component.missing_bits);
        coefficients.all(|missing| missing == Some(0))
    }

    /// Takes note of a scan with this header and so many bytes of coded data.
    pub(super) fn add_scan(&mut self, segment: &[u8], n_bytes: u64) -> Result<(), FitError> {
        let wrong_length = || broken("a scan header has the wrong length");
        let (&n_components, rest) = segment.split_first().ok_or_else(wrong_length)?;
        let (selectors, rest) =
            rest.split_at_checked(2 * usize::from(n_components)).ok_or_else(wrong_length)?;
        let &[first, last, bits] = rest else { return Err(wrong_length()) };
        let mut members: Vec<usize> = Vec::new();
        for &[id, _] in selectors.as_chunks().0 {
            // Ids need not differ: then the order tells.
            let mut matching = (0..self.components.len()).filter(|i| self.components[*i].id == id);
            let member = matching.find(|i| !members.contains(i));
            members.push(member.ok_or_else(|| broken("a scan is of a component that is not in the frame"))?);
        }
        if members.is_empty() {
            return Err(broken("a scan is of no component"));
        }
        // What a sequential scan says of coefficients is not read by anyone.
        let (coefficients, had_low, low) = match self.coding {
            Coding::Sequential => (0..N_COEFFICIENTS, 0, 0),
            Coding::Progressive => (usize::from(first)..usize::from(last) + 1, bits >> 4, bits & 15),
        };
        let (first, last) = (coefficients.start, coefficients.end);
        if first >= last || last > N_COEFFICIENTS {
            return Err(broken("a scan is of coefficients that do not exist"));
        }
        let n_blocks: u64 = members.iter().map(|&member| self.n_blocks(member)).sum();
        // The shortest code has one bit, and a block has one for its mean, unless that came before, when it
        // is a bit as well, and one for the rest, unless that comes later. A run of empty blocks has one
        // code.
        let bits_per_block = match self.coding {
            Coding::Sequential => 2,
            Coding::Progressive => u64::from(first == 0),
        };
        let needed = (n_blocks * bits_per_block).div_ceil(8);
        if n_bytes < needed {
            return Err(broken(format!(
                "a scan has {n_bytes} bytes, its {n_blocks} blocks take {needed} at least"
            )));
        }
        self.is_interleaved &= members.len() == self.components.len();
        for member in members {
            for missing in &mut self.components[member].missing_bits[first..last] {
                let expected = match self.coding {
                    Coding::Sequential => None,
                    Coding::Progressive => (had_low > 0).then_some(had_low),
                };
                if *missing != expected {
                    return Err(broken("its scans do not follow from each other"));
                }
                *missing = Some(low);
            }
        }
        Ok(())
    }

    /// Blocks of a component.
    fn n_blocks(&self, component: usize) -> u64 {
        let Component { horizontal, vertical, .. } = self.components[component];
        let [width, height] = self.units();
        (width * horizontal).div_ceil(8 * self.most(|c| c.horizontal))
            * (height * vertical).div_ceil(8 * self.most(|c| c.vertical))
    }

    /// Bytes that libjpeg allocates beside the pixels: rows of samples on their way, and the coefficients of
    /// the whole image when they come in more than one scan.
    pub(super) fn working_bytes(&self) -> u64 {
        let [width, height] = self.units();
        let [across, down] = [self.most(|c| c.horizontal), self.most(|c| c.vertical)];
        let [n_across, n_down] = [width.div_ceil(8 * across), height.div_ceil(8 * down)];
        // Ten rows for each row of a block, of which two are for interpolation, and the rows that leave.
        let rows = |c: &Component| n_across * 8 * across * (10 * c.vertical + down);
        let rows: u64 = self.components.iter().map(rows).sum();
        let blocks = |c: &Component| n_across * c.horizontal * n_down * c.vertical;
        let blocks: u64 = self.components.iter().map(blocks).sum();
        let keeps_coefficients = self.coding == Coding::Progressive || !self.is_interleaved;
        rows + if keeps_coefficients { blocks * BYTES_PER_BLOCK } else { 0 }
    }

    fn units(&self) -> [u64; 2] {
        [self.size.width.into(), self.size.height.into()]
    }

    fn most(&self, sampling: impl Fn(&Component) -> u64) -> u64 {
        self.components.iter().map(sampling).max().unwrap_or(1)
    }
}
