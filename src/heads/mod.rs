//! Depth and segmentation heads: maps from the tokens of tapped blocks. Pure: they know neither topics nor devices.
//!
//! ```text
//!  head file -> Card (what it is for) + Network: taps -> [B, n, h, w] -> depth in metres, or labels
//! ```
//! A head reads, per tap, the patch tokens after the final norm with the mean of the class tokens beside each. That half
//! is the same for the whole picture, so it is folded into a bias per picture. `tools/pixio_heads.py` is the reference.

mod card;
mod dpt;
mod file;
mod linear;
mod tap;

use std::path::Path;

use tch::{Device, Kind, Tensor};

pub use self::card::{Backbone, Card, Class, HeadKind, Task};
pub use self::file::HeadError;

use self::dpt::Dpt;
use self::file::Parameters;
use self::linear::Linear;

/// A head with its weights on a device.
#[derive(Debug)]
pub struct Head {
    card: Card,
    network: Network,
}

#[derive(Debug)]
enum Network {
    Linear(Linear),
    Dpt(Dpt),
}

/// Per pixel class and how sure the head is of it.
#[derive(Debug)]
pub struct Labels {
    /// Index of the likeliest class, uint8 `[B, height, width]`.
    pub classes: Tensor,
    /// Its probability, `[B, height, width]`, float32.
    pub confidence: Tensor,
}

impl Head {
    /// Reads a head file and puts its weights on `device` as `kind`.
    ///
    /// # Errors
    /// The file is no head, or is not whole; the message names it and the tensor.
    pub fn load(file: &Path, device: Device, kind: Kind) -> Result<Self, HeadError> {
        let _no_grad = tch::no_grad_guard();
        let mut parameters = Parameters::open(file, device, kind)?;
        let card = parameters.card()?;
        let (hidden, n_outputs) = (card.backbone.hidden_size as i64, card.n_outputs());
        let network = match &card.head {
            HeadKind::Linear => Network::Linear(Linear::load(&mut parameters, hidden, n_outputs)?),
            HeadKind::Dpt { features, out_channels } => {
                Network::Dpt(Dpt::load(&mut parameters, hidden, n_outputs, *features, *out_channels)?)
            }
        };
        parameters.check_all_read()?;
        Ok(Self { card, network })
    }

    /// What the head is and what it was made for.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Raw maps `[B, n, h, w]` from the tokens `[B, n_cls + P, D]` of every tap of the card, after the final norm, on the
    /// head's device. `grid` is rows and columns of patches. A linear head's are as large as the grid, DPT's eight times.
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
            Network::Linear(linear) => Ok(linear.forward(&taps[0])?),
            Network::Dpt(dpt) => Ok(dpt.forward(&taps)?),
        }
    }

    /// Depth in metres, `[B, height, width]`, float32, from raw maps; nothing for a segmentation head.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn depth(&self, raw: &Tensor, size: [i64; 2]) -> Result<Option<Tensor>, HeadError> {
        let Task::Depth { max_depth, .. } = &self.card.task else { return Ok(None) };
        // Resized before the sigmoid, as in training.
        let resized = resized(raw, size)?.f_to_kind(Kind::Float)?;
        Ok(Some(resized.f_sigmoid()?.f_mul_scalar(*max_depth)?.f_select(1, 0)?))
    }

    /// Classes and confidence from raw maps; nothing for a depth head.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn labels(&self, raw: &Tensor, size: [i64; 2]) -> Result<Option<Labels>, HeadError> {
        if !matches!(self.card.task, Task::Segmentation { .. }) {
            return Ok(None);
        }
        let probabilities = resized(raw, size)?.f_softmax(1, Kind::Float)?;
        let (confidence, classes) = probabilities.f_max_dim(1, false)?;
        Ok(Some(Labels { classes: classes.f_to_kind(Kind::Uint8)?, confidence }))
    }
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
