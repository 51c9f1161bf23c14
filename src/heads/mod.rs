//! Depth and segmentation heads: maps from the tokens of tapped blocks. Pure: they know neither topics nor devices.
//!
//! ```text
//!  head file -> Card (what it is for) + Network: taps -> [B, n, h, w] -> depth in metres, or labels
//! ```
//! A head reads, per tap, the patch tokens after the final norm with the mean of the class tokens beside each. That half
//! is the same for the whole image, so it is folded into a bias per image. `python/pixio_engine/heads.py` is the
//! reference.

mod card;
mod dpt;
mod file;
mod linear;
mod merge;
mod tap;

use std::path::Path;

use tch::{Device, Kind, Tensor};

pub use self::card::{Backbone, Card, Class, HeadKind, Task};
pub use self::file::HeadError;

use crate::config::Upsampling;
use crate::geometry::{Size, WINDOW};

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
    /// Index of the likeliest class, uint8 `[height, width]`.
    pub classes: Tensor,
    /// Its probability, `[height, width]`, float32.
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

    /// The same, for the task `task` ("depth" or "segmentation") on the tokens of `model`. Weights of another revision
    /// of the same architecture are a warning: the head's answers may be worthless.
    ///
    /// # Errors
    /// As [`Head::load`]; or the head is for another task or another architecture.
    pub fn load_for(
        file: &Path,
        task: &str,
        model: &Backbone,
        device: Device,
        kind: Kind,
    ) -> Result<Self, HeadError> {
        let head = Self::load(file, device, kind)?;
        let Card { backbone, task: its, .. } = &head.card;
        let misfit = |reason| HeadError::Misfit { file: file.to_owned(), reason };
        if its.name() != task {
            return Err(misfit(format!("it is for {}, {task} was asked for", its.name())));
        }
        backbone.check(model).map_err(misfit)?;
        if backbone.revision != model.revision {
            tracing::warn!(
                "head {} was trained on revision {} of {}, this is revision {}: expect worse {task}",
                file.display(),
                backbone.revision,
                backbone.model,
                model.revision
            );
        }
        Ok(head)
    }

    /// What the head is and what it was made for.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Every parameter under the name that it has in `OnTokens` of `python/pixio_engine/heads.py`, where a compiled network
    /// looks for it. They share the head's memory.
    pub fn constants(&self) -> Vec<(String, Tensor)> {
        let mut found = Vec::new();
        let mut add =
            |name: String, tensor: &Tensor| found.push((format!("head.{name}"), tensor.shallow_clone()));
        match &self.network {
            Network::Linear(linear) => linear.tell(&mut add),
            Network::Dpt(dpt) => dpt.tell(&mut add),
        }
        found
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

    /// Depth in metres, `[height, width]`, float32, from the raw maps of a picture: one, or those of the windows over it.
    /// Nothing for a segmentation head.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn depth(&self, raw: &Tensor, picture: Picture) -> Result<Option<Tensor>, HeadError> {
        let Task::Depth { max_depth, .. } = &self.card.task else { return Ok(None) };
        // Resized before the sigmoid, as in training.
        let resized = resized(raw, picture.pass())?.f_to_kind(Kind::Float)?;
        let depth = resized.f_sigmoid()?.f_mul_scalar(*max_depth)?.f_select(1, 0)?;
        Ok(Some(picture.whole(&depth)?))
    }

    /// Classes and confidence from raw maps like those of [`Head::depth`]; nothing for a depth head. `upsampling` says
    /// what is brought to the picture's size; windows are always merged as probabilities.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn labels(
        &self,
        raw: &Tensor,
        picture: Picture,
        upsampling: Upsampling,
    ) -> Result<Option<Labels>, HeadError> {
        if !matches!(self.card.task, Task::Segmentation { .. }) {
            return Ok(None);
        }
        let probabilities = |scores: &Tensor| scores.f_softmax(1, Kind::Float);
        match (picture, upsampling) {
            (Picture::Whole(size), Upsampling::Labels) => {
                let Labels { classes, confidence } = likeliest(&probabilities(raw)?.f_get(0)?)?;
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
                let resized = probabilities(&resized(raw, picture.pass())?)?;
                Ok(Some(likeliest(&picture.whole(&resized)?)?))
            }
        }
    }
}

/// How raw maps cover a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// There is one map, of all of it.
    Whole(Size),
    /// There is one map per window over a picture of this size.
    Windows(Size),
}

impl Picture {
    /// Rows and columns of what one map shows.
    fn pass(self) -> [i64; 2] {
        match self {
            Self::Whole(size) => size.sides(),
            Self::Windows(_) => [i64::from(WINDOW); 2],
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

/// The likeliest class of every pixel of the probabilities `[n, h, w]`.
fn likeliest(probabilities: &Tensor) -> Result<Labels, tch::TchError> {
    let (confidence, classes) = probabilities.f_max_dim(0, false)?;
    Ok(Labels { classes: classes.f_to_kind(Kind::Uint8)?, confidence })
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
