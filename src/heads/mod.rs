//! Depth and segmentation heads: maps from the tokens of tapped blocks. Pure: they know neither topics nor
//! devices.
//!
//! ```text
//!  head file -> Card (what it is for) + Network: taps -> [B, n, h, w] -> depth in metres, or labels
//! ```
//! A head reads, per tap, the patch tokens after the final norm with the mean of the class tokens beside
//! each. That half is the same for the whole image, so it is folded into a bias per image.
//! `python/pixio_engine/heads.py` is the reference.

mod card;
mod dpt;
mod error;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod linear;
mod merge;
mod set;
mod tap;

use std::path::Path;

use tch::{Device, Kind, Tensor};

pub use self::card::{Card, Class, EncoderCard, HeadKind, Legend, MOST_CLASSES, Task};
pub use self::error::HeadError;
pub(crate) use self::file::CARD;
pub use self::file::HeadParts;
pub use self::set::HeadSet;

use crate::config::Upsampling;
use crate::geometry::{Size, WINDOW};

use self::dpt::Dpt;
use self::file::HeadTensors;
use self::linear::LinearHead;

/// The label of pixels that belong to no class.
pub const UNLABELLED: u8 = 255;

/// A head with its weights on a device.
#[derive(Debug)]
pub struct Head {
    card: Card,
    network: Network,
}

#[derive(Debug)]
enum Network {
    Linear(LinearHead),
    Dpt(Dpt),
}

/// Per pixel class and how sure the head is of it.
#[derive(Debug)]
pub struct Labels {
    /// Index of the likeliest class, uint8 `[height, width]`; [`UNLABELLED`] below the card's threshold.
    pub classes: Tensor,
    /// Probability of that class, `[height, width]`, float32.
    pub confidence: Tensor,
}

impl Head {
    /// Makes a head of the `bytes` of `file`, which errors name, with its weights on `device` as `kind`.
    ///
    /// # Errors
    /// The file is no head, or is not whole; the message names it and the tensor.
    pub fn parse(file: &Path, bytes: &[u8], device: Device, kind: Kind) -> Result<Self, HeadError> {
        let _no_grad = tch::no_grad_guard();
        let (card, parameters) = HeadTensors::parse(file, bytes, device, kind)?;
        Self::load(card, parameters)
    }

    /// The head that `parts` describe, with its weights on `device` as `kind`.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn of(parts: &HeadParts, device: Device, kind: Kind) -> Result<Self, HeadError> {
        let _no_grad = tch::no_grad_guard();
        Self::load(parts.card.clone(), HeadTensors::of(parts, device, kind))
    }

    fn load(card: Card, mut parameters: HeadTensors) -> Result<Self, HeadError> {
        let network = match &card.head {
            HeadKind::Linear { .. } => Network::Linear(LinearHead::load(&mut parameters, &card)?),
            HeadKind::Dpt { features, out_channels } => {
                let (hidden, n_outputs) = (card.backbone.hidden_size as i64, card.n_outputs());
                Network::Dpt(Dpt::load(&mut parameters, hidden, n_outputs, *features, *out_channels)?)
            }
        };
        parameters.check_all_read()?;
        Ok(Self { card, network })
    }

    /// Checks that the head of `file` is for `task` ("depth" or "segmentation") on the tokens of `encoder`.
    ///
    /// # Errors
    /// The head is for another task or another architecture.
    pub fn check(&self, file: &Path, task: &str, encoder: &EncoderCard) -> Result<(), HeadError> {
        let misfit = |reason| HeadError::Misfit { file: file.to_owned(), reason };
        let own_task = self.card.task.name();
        if own_task != task {
            return Err(misfit(format!("it is for {own_task}, {task} was asked for")));
        }
        self.card.backbone.check(encoder).map_err(misfit)
    }

    /// The same head on the same memory.
    pub fn shallow_clone(&self) -> Self {
        let network = match &self.network {
            Network::Linear(linear) => Network::Linear(linear.shallow_clone()),
            Network::Dpt(dpt) => Network::Dpt(dpt.shallow_clone()),
        };
        Self { card: self.card.clone(), network }
    }

    /// What the head is and what it was made for.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Every parameter under its name in `OnTokens` of `python/pixio_engine/heads.py`, where a compiled
    /// network looks for it. They share the head's memory.
    pub fn constants(&self) -> Vec<(String, Tensor)> {
        let mut constants = Vec::new();
        let mut add =
            |name: String, tensor: &Tensor| constants.push((format!("head.{name}"), tensor.shallow_clone()));
        match &self.network {
            Network::Linear(linear) => linear.tell(&mut add),
            Network::Dpt(dpt) => dpt.tell(&mut add),
        }
        constants
    }

    /// Raw maps `[B, n, h, w]` from the tokens `[B, n_cls + P, D]` of every tap of the card, after the final
    /// norm, on the head's device. `grid` is rows and columns of patches. A linear head's are as large as the
    /// grid, DPT's eight times.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn run(&self, taps: &[Tensor], grid: [i64; 2]) -> Result<Tensor, HeadError> {
        let _no_grad = tch::no_grad_guard();
        let n_cls = self.card.backbone.n_cls_tokens as i64;
        let taps = taps.iter().map(|tokens| tap::Tap::of(tokens, n_cls, grid));
        let taps = taps.collect::<Result<Vec<_>, _>>()?;
        if taps.len() != self.card.taps.len() {
            return Err(HeadError::Taps { given: taps.len(), expected: self.card.taps.clone() });
        }
        match &self.network {
            Network::Linear(linear) => Ok(linear.forward(&taps, grid)?),
            Network::Dpt(dpt) => Ok(dpt.forward(&taps)?),
        }
    }

    /// Depth in metres, `[height, width]`, float32, from the raw maps of an image: one, or those of the
    /// windows over it. Nothing for a segmentation head.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn depth(&self, raw: &Tensor, coverage: Coverage) -> Result<Option<Tensor>, HeadError> {
        let Task::Depth { max_depth, .. } = &self.card.task else { return Ok(None) };
        // Resized before the sigmoid, as in training.
        let resized = resized(raw, coverage.pass().sides())?.f_to_kind(Kind::Float)?;
        let depth = resized.f_sigmoid()?.f_mul_scalar(*max_depth)?.f_select(1, 0)?;
        Ok(Some(coverage.whole(&depth)?))
    }

    /// Classes and confidence from raw maps like those of [`Head::depth`]; nothing for a depth head.
    /// `upsampling` says what is brought to the image's size; windows are always merged as probabilities.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn labels(
        &self,
        raw: &Tensor,
        coverage: Coverage,
        upsampling: Upsampling,
    ) -> Result<Option<Labels>, HeadError> {
        let Task::Segmentation { threshold, .. } = self.card.task else { return Ok(None) };
        let probabilities = |scores: &Tensor| scores.f_softmax(1, Kind::Float);
        match (coverage, upsampling) {
            (Coverage::Whole(size), Upsampling::Labels) => {
                let Labels { classes, confidence } = likeliest(&probabilities(raw)?.f_get(0)?, threshold)?;
                let size = size.sides();
                let nearest = |map: &Tensor| {
                    map.f_unsqueeze(0)?
                        .f_unsqueeze(0)?
                        .f_upsample_nearest2d(size, None, None)?
                        .f_get(0)?
                        .f_get(0)
                };
                Ok(Some(Labels { classes: nearest(&classes)?, confidence: nearest(&confidence)? }))
            }
            _ => {
                let resized = probabilities(&resized(raw, coverage.pass().sides())?)?;
                Ok(Some(likeliest(&coverage.whole(&resized)?, threshold)?))
            }
        }
    }
}

/// How raw maps cover an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coverage {
    /// There is one map, of all of it.
    Whole(Size),
    /// There is one map per window over an image of this size.
    Windows(Size),
}

impl Coverage {
    /// Size of what one map shows, which the model has seen at once.
    pub fn pass(self) -> Size {
        match self {
            Self::Whole(size) => size,
            Self::Windows(_) => Size { width: WINDOW, height: WINDOW },
        }
    }

    /// `[..., height, width]` from `[B, ..., h, w]`.
    fn whole(self, maps: &Tensor) -> Result<Tensor, tch::TchError> {
        match self {
            Self::Whole(_) => maps.f_get(0),
            Self::Windows(size) => merge::merged(maps, size),
        }
    }
}

/// The likeliest class of every pixel of the probabilities `[n, h, w]`; none below `threshold`.
fn likeliest(probabilities: &Tensor, threshold: f64) -> Result<Labels, tch::TchError> {
    let (confidence, classes) = probabilities.f_max_dim(0, false)?;
    let mut classes = classes.f_to_kind(Kind::Uint8)?;
    if 0.0 < threshold {
        classes = classes.f_masked_fill(&confidence.f_lt(threshold)?, i64::from(UNLABELLED))?;
    }
    Ok(Labels { classes, confidence })
}

/// Bilinear, corners aligned, as in training.
fn resized(x: &Tensor, size: [i64; 2]) -> Result<Tensor, tch::TchError> {
    x.f_upsample_bilinear2d(size, true, None, None)
}

// The model's thread owns the heads; it need not be the one that loaded them.
const _: () = {
    const fn send<T: Send>() {}
    send::<Head>();
};
