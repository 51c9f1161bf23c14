//! The proof that an engine has to give before it serves: one fixed batch through it and through the eager
//! model in float32.

use std::slice;

use tch::{Device, Kind, TchError, Tensor};

use super::store::manifest::Parity;
use super::timing::{Rounds, Runner, Trial};
use super::{Engine, EngineError, Tokens};
use crate::geometry::Size;
use crate::pixio::Pixio;

/// An engine's tokens and the eager model's in float32 are not the same.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The tokens differ by more than the engine's arithmetic explains.
    #[error(
        "its tokens for {batch} images of {size} have a cosine of {cosine:.6} with the eager model's in \
         float32, at least {least} is asked for (largest difference {largest_difference:.1e} of the largest \
         value)"
    )]
    Differs {
        /// Size of the model input.
        size: Size,
        /// Images.
        batch: i64,
        /// Found.
        cosine: f64,
        /// Asked for.
        least: f64,
        /// Over the largest value.
        largest_difference: f64,
    },
    /// One of them failed.
    #[error(transparent)]
    Failed(#[from] EngineError),
}

/// What goes through the model at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchShape {
    /// Size of the model input.
    pub size: Size,
    /// Number of images.
    pub batch: i64,
}

/// The fixed batch: uint8 `[batch, H, W, 3]` on the CPU, every image with its own waves and grain.
///
/// # Errors
/// libtorch's own.
pub fn test_images(shape: BatchShape) -> Result<Tensor, EngineError> {
    let BatchShape { size, batch } = shape;
    let (width, height) = (i64::from(size.width), i64::from(size.height));
    let mut noise = 1u32;
    let mut bytes =
        Vec::with_capacity(size.width as usize * size.height as usize * 3 * batch.unsigned_abs() as usize);
    for image in 0..batch {
        for (y, x, channel) in
            (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| (y, x, c))))
        {
            // A linear congruential generator (Numerical Recipes); its upper bits are grain.
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = f64::from(noise >> 24) / 8.0;
            let phase = (x as f64 * (0.02 + 0.01 * f64::from(channel)) + image as f64) + y as f64 * 0.03;
            bytes.push((112.0 + 96.0 * phase.sin() + grain) as u8);
        }
    }
    Ok(Tensor::f_from_data_size(&bytes, &[batch, height, width, 3], Kind::Uint8)?)
}

/// What a proof has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Proven {
    /// How well both agree.
    pub parity: Parity,
    /// How long the reference and the engine took. For each it may have been the first run of all.
    pub rounds: Rounds,
}

/// What an engine is compared with.
pub trait Reference {
    /// Gets what [`Reference::tokens`] needs for a fixed batch of `shape` and the blocks `taps`; what takes long
    /// and is no forward pass.
    ///
    /// # Errors
    /// The model cannot be loaded.
    fn prepare(&mut self, shape: BatchShape, taps: &[usize]) -> Result<(), EngineError>;

    /// The tokens of the blocks `taps` after the final norm, float64 on the CPU, for `images`, which are the
    /// fixed batch of `shape`.
    ///
    /// # Errors
    /// The model's own.
    fn tokens(
        &mut self,
        images: &Tensor,
        shape: BatchShape,
        taps: &[usize],
    ) -> Result<Vec<Tensor>, EngineError>;
}

impl Reference for Pixio {
    fn prepare(&mut self, _shape: BatchShape, _taps: &[usize]) -> Result<(), EngineError> {
        Ok(())
    }

    fn tokens(
        &mut self,
        images: &Tensor,
        _shape: BatchShape,
        taps: &[usize],
    ) -> Result<Vec<Tensor>, EngineError> {
        let failed = |err: crate::pixio::ModelError| EngineError { message: format!("reference: {err}") };
        let tokens = self.encode(images, taps).map_err(failed)?;
        tokens.iter().map(|tokens| Ok(vector(&self.normalize(tokens).map_err(failed)?)?)).collect()
    }
}

/// Compares `engine` on the fixed batch with `reference`; the smaller cosine of all taps must reach `least`.
/// `trial` takes the time.
///
/// # Errors
/// The tokens do not agree, or one of the two failed.
pub fn prove(
    engine: &mut dyn Engine,
    reference: &mut dyn Reference,
    shape: BatchShape,
    least: f64,
    trial: &mut Trial,
) -> Result<Proven, ProofError> {
    let BatchShape { size, batch } = shape;
    let images = test_images(shape)?;
    reference.prepare(shape, engine.taps())?;
    // On the CPU before the engine runs: on a GPU that is another stream, which waits for nobody.
    let (mut expected, mut actual) = (Vec::new(), Tokens::default());
    let eager_took = trial.time(Runner::Eager, &mut || {
        expected = reference.tokens(&images, shape, engine.taps())?;
        Ok(())
    })?;
    let engine_took = trial.time(Runner::Engine, &mut || {
        actual = engine.run(slice::from_ref(&images), usize::MAX)?;
        engine.wait()
    })?;
    let mut parity = Parity { batch, cosine: 1.0, largest_difference: 0.0 };
    for (actual, expected) in actual.taps.iter().zip(&expected) {
        let compared = vector(actual).and_then(|actual| compare(&actual, expected));
        let (cosine, difference) = compared.map_err(EngineError::from)?;
        // Not a number is no agreement.
        parity.cosine = if cosine.is_nan() { f64::NAN } else { parity.cosine.min(cosine) };
        parity.largest_difference = parity.largest_difference.max(difference);
    }
    let Parity { cosine, largest_difference, .. } = parity;
    let is_complete = actual.taps.len() == expected.len();
    if !is_complete || cosine.is_nan() || cosine < least {
        return Err(ProofError::Differs { size, batch, cosine, least, largest_difference });
    }
    Ok(Proven { parity, rounds: Rounds::of(eager_took, engine_took) })
}

/// All elements in float64 on the CPU.
pub(super) fn vector(tensor: &Tensor) -> Result<Tensor, TchError> {
    tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?.f_flatten(0, -1)
}

/// Cosine of two vectors, and their largest difference over the largest value of `expected`; not a number
/// when their lengths differ.
pub(super) fn compare(actual: &Tensor, expected: &Tensor) -> Result<(f64, f64), TchError> {
    if actual.size() != expected.size() {
        return Ok((f64::NAN, f64::NAN));
    }
    let value = |tensor: Tensor| tensor.f_double_value(&[]);
    let norms = value(actual.f_norm()?)? * value(expected.f_norm()?)?;
    let cosine = value(actual.f_dot(expected)?)? / norms;
    let difference = value(actual.f_sub(expected)?.f_abs()?.f_max()?)? / value(expected.f_abs()?.f_max()?)?;
    Ok((cosine, difference))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::eager::Eager;
    use super::super::timing::tests::Scripted;
    use super::*;
    use crate::pixio::Source;

    const SIZE: Size = Size { width: 64, height: 32 };

    /// An engine whose tokens are changed before they are returned.
    struct Spoilt(Eager, fn(Tensor) -> Tensor);

    impl Engine for Spoilt {
        fn kind(&self) -> String {
            "spoilt".into()
        }

        fn taps(&self) -> &[usize] {
            self.0.taps()
        }

        fn stops_early(&self) -> bool {
            self.0.stops_early()
        }

        fn run(&mut self, images: &[Tensor], n_taps: usize) -> Result<Tokens, EngineError> {
            let tokens = self.0.run(images, n_taps)?;
            Ok(Tokens { taps: tokens.taps.into_iter().map(self.1).collect(), ..Tokens::default() })
        }
    }

    fn check(spoil: fn(Tensor) -> Tensor, expect: &str) {
        let source = Source::resolve("random:tiny").unwrap();
        let mut pixio = Pixio::load(&source, Device::Cpu, Kind::Float).unwrap();
        let eager = Eager::new(pixio.shallow_clone(), &[2, 4]).unwrap();
        let stopwatch = Box::new(Scripted { eager: &[30], engine: &[20] });
        let mut trial = Trial::new(stopwatch, Duration::from_secs(1), 5);
        let outcome = prove(
            &mut Spoilt(eager, spoil),
            &mut pixio,
            BatchShape { size: SIZE, batch: 2 },
            0.999,
            &mut trial,
        );
        assert_eq!(trial.left(), Duration::from_millis(950));
        let answer = outcome.map_or_else(|err| err.to_string(), |parity| format!("{parity:?}"));
        assert!(answer.contains(expect), "{expect:?} is not in: {answer}");
    }

    #[test]
    fn only_an_engine_that_agrees_is_proven() {
        check(|tokens| tokens, "largest_difference: 0.0 }, rounds: Rounds([[30ms, 20ms]])");
        check(
            |tokens| tokens * 0.0,
            "a cosine of NaN with the eager model's in float32, at least 0.999 is asked for",
        );
        check(|tokens| tokens.flip([1]), "its tokens for 2 images of 64x32 have a cosine of ");
        check(|tokens| tokens.narrow(0, 0, 1), "a cosine of NaN");
    }

    #[test]
    fn the_images_differ_and_use_most_of_the_range() {
        let images = test_images(BatchShape { size: SIZE, batch: 2 }).unwrap();
        assert_eq!(images.size(), [2, 32, 64, 3]);
        assert!(!images.get(0).equal(&images.get(1)));
        let (least, most) = (images.min().int64_value(&[]), images.max().int64_value(&[]));
        assert!(least < 40 && 200 < most, "{least} {most}");
    }
}
