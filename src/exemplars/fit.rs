//! The classifier: multinomial logistic regression on standardised tokens, with a ridge penalty (Hastie,
//! Tibshirani and Friedman, The Elements of Statistical Learning, 2nd edition, 4.4 and 18.3.2). It becomes an
//! ordinary linear head.

use tch::{Device, Kind, TchError, Tensor};

use super::minimize::{Slope, Stop, minimum};
use super::store::{Exemplars, Labelled};
use crate::heads::{Card, HeadKind, HeadParts, Task};

/// The weight of the ridge penalty for each input. A larger one makes the probabilities too small
/// (docs/teaching.md).
const RIDGE: f64 = 1.0 / 4000.0;

/// The least variance of a channel, as a share of the mean over all channels: a channel that hardly changes
/// between a few exemplars says nothing.
const LEAST_VARIANCE: f64 = 0.1;

/// What batch norm adds to a variance.
const EPSILON: f64 = 1e-5;

/// When a fit is good enough: more steps change no label.
const STOP: Stop = Stop { n_steps: 20, gradient: 1e-6 };

/// The score of a class without exemplars: its probability is zero, in float16 too.
const NEVER: f64 = -1e4;

/// Classes with exemplars without which there is nothing to tell apart.
pub(super) const LEAST_CLASSES: usize = 2;

/// The head that tells the classes of `exemplars` apart; nothing as long as fewer than two classes have
/// exemplars.
///
/// # Errors
/// libtorch's own.
pub fn fitted(exemplars: &Exemplars) -> Result<Option<HeadParts>, TchError> {
    let _no_grad = tch::no_grad_guard();
    let counts = exemplars.counts();
    let active: Vec<usize> = (0..counts.len()).filter(|&class| 0 < counts[class]).collect();
    if active.len() < LEAST_CLASSES {
        return Ok(None);
    }
    let data = Data::of(exemplars, &active, &counts)?;
    let solution = minimum(data.start()?, STOP, |weights| data.loss(weights))?;
    Ok(Some(parts(exemplars, &active, &data, &solution)?))
}

/// Tokens of exemplars, each channel with mean 0 and variance 1.
pub(super) struct Standardised {
    /// `[N, C]`.
    pub(super) inputs: Tensor,
    /// `[C]` each, before.
    mean: Tensor,
    variance: Tensor,
}

/// # Errors
/// libtorch's own.
pub(super) fn standardised(labelled: &[Labelled]) -> Result<Standardised, TchError> {
    let n_channels = labelled.first().map_or(0, |labelled| labelled.exemplar.tokens.len());
    let mut values = Vec::with_capacity(labelled.len() * n_channels);
    labelled.iter().for_each(|labelled| values.extend_from_slice(&labelled.exemplar.tokens));
    let mut inputs = Tensor::f_from_slice(&values)?.f_reshape([labelled.len() as i64, -1])?;
    let mean = inputs.f_mean_dim(&[0i64][..], false, Kind::Float)?;
    let variance = inputs.f_var_dim(&[0i64][..], false, false)?;
    let least = LEAST_VARIANCE * variance.f_mean(Kind::Float)?.f_double_value(&[])?;
    let variance = variance.f_clamp_min(least)?;
    let scale = variance.f_add_scalar(EPSILON)?.f_rsqrt()?;
    // In place: with many exemplars, memory is what takes time.
    let _standardised = inputs.f_sub_(&mean)?.f_mul_(&scale)?;
    Ok(Standardised { inputs, mean, variance })
}

/// Exemplars as the fit sees them.
struct Data {
    /// `[N, C]`: tokens, standardised and centred.
    inputs: Tensor,
    /// `[N, K]`: one where the exemplar is of the class.
    targets: Tensor,
    /// `[N, 1]`: how much an exemplar counts; they add up to one.
    shares: Tensor,
    /// [`Standardised`].
    mean: Tensor,
    variance: Tensor,
    /// `[C]`: where the standardised tokens are centred. Round zero the bias bends the loss no more than the
    /// weights do, and a minimum is found in fewer steps.
    centre: Tensor,
}

impl Data {
    fn of(exemplars: &Exemplars, active: &[usize], counts: &[usize]) -> Result<Self, TchError> {
        let (mut targets, mut shares) = (Vec::new(), Vec::new());
        for labelled in &exemplars.labelled {
            let class = usize::from(labelled.class);
            targets.push(active.iter().position(|&one| one == class).unwrap_or_default() as i64);
            // Classes count alike, however often each was pointed at.
            shares.push(1.0 / (counts[class] * active.len()) as f32);
        }
        let shares = Tensor::f_from_slice(&shares)?;
        let Standardised { mut inputs, mean, variance } = standardised(&exemplars.labelled)?;
        let centre = inputs.f_tr()?.f_mv(&shares)?;
        let _centred = inputs.f_sub_(&centre)?;
        let targets = Tensor::f_from_slice(&targets)?.f_one_hot(active.len() as i64)?;
        Ok(Self {
            inputs,
            targets: targets.f_to_kind(Kind::Float)?,
            shares: shares.f_unsqueeze(1)?,
            mean,
            variance,
            centre,
        })
    }

    /// No weights yet: `[C + 1, K]`, the bias last.
    fn start(&self) -> Result<Tensor, TchError> {
        Tensor::f_zeros([self.inputs.size()[1] + 1, self.targets.size()[1]], (Kind::Float, Device::Cpu))
    }

    /// The penalised loss of `weights`, which are of the shape of the start.
    fn loss(&self, weights: &Tensor) -> Result<Slope, TchError> {
        let n_inputs = weights.size()[0] - 1;
        let ridge = RIDGE * n_inputs as f64;
        let (slopes, bias) = (weights.f_narrow(0, 0, n_inputs)?, weights.f_narrow(0, n_inputs, 1)?);
        let logs = self.inputs.f_matmul(&slopes)?.f_add(&bias)?.f_log_softmax(1, Kind::Float)?;
        let missed = logs.f_mul(&self.targets)?.f_mul(&self.shares)?.f_sum(Kind::Double)?.f_neg()?;
        // The bias is free.
        let penalty = slopes.f_mul(&slopes)?.f_sum(Kind::Double)?.f_mul_scalar(ridge / 2.0)?;
        let off = logs.f_exp()?.f_sub(&self.targets)?.f_mul(&self.shares)?;
        let of_slopes = self.inputs.f_tr()?.f_matmul(&off)?.f_add(&slopes.f_mul_scalar(ridge)?)?;
        let of_bias = off.f_sum_dim_intlist(&[0i64][..], true, Kind::Float)?;
        let gradient = Tensor::f_cat(&[of_slopes, of_bias], 0)?;
        Ok(Slope { value: missed.f_add(&penalty)?.f_double_value(&[])?, gradient })
    }

    /// Weights `[C, K]` and bias `[K]` on standardised tokens that are not centred.
    fn uncentred(&self, solution: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let n_inputs = solution.size()[0] - 1;
        let slopes = solution.f_narrow(0, 0, n_inputs)?;
        let bias = solution.f_get(n_inputs)?.f_sub(&slopes.f_tr()?.f_mv(&self.centre)?)?;
        Ok((slopes, bias))
    }
}

/// `solution` `[C + 1, K]` as the parameters of a linear head, whose norm standardises.
fn parts(
    exemplars: &Exemplars,
    active: &[usize],
    data: &Data,
    solution: &Tensor,
) -> Result<HeadParts, TchError> {
    let (binding, classes) = (exemplars.binding(), exemplars.classes());
    let (n_taps, hidden) = (binding.taps.len() as i64, binding.backbone.hidden_size as i64);
    let n_classes = classes.len() as i64;
    // A head reads the mean class token beside the patch token of each tap; here that half is nothing.
    let beside = |values: &Tensor, nothing: f64| {
        let rows = values.size()[0];
        let of_taps = values.f_reshape([rows, n_taps, hidden])?;
        let of_cls = of_taps.f_full_like(nothing)?;
        Tensor::f_cat(&[of_taps, of_cls], 2)?.f_reshape([rows, 2 * n_taps * hidden])
    };
    let flat = |values: &Tensor, nothing: f64| beside(&values.f_unsqueeze(0)?, nothing)?.f_squeeze();
    let rows = Tensor::f_from_slice(&active.iter().map(|&class| class as i64).collect::<Vec<_>>())?;
    let (slopes, offsets) = data.uncentred(solution)?;
    let slopes = beside(&slopes.f_tr()?, 0.0)?;
    let width = slopes.size()[1];
    let options = (Kind::Float, Device::Cpu);
    let weight = Tensor::f_zeros([n_classes, width], options)?.f_index_copy(0, &rows, &slopes)?;
    let bias = Tensor::f_full([n_classes], NEVER, options)?.f_index_copy(0, &rows, &offsets)?;
    let named = [
        ("norm.weight", Tensor::f_ones([width], options)?),
        ("norm.bias", Tensor::f_zeros([width], options)?),
        ("norm.running_mean", flat(&data.mean, 0.0)?),
        ("norm.running_var", flat(&data.variance, 1.0)?),
        ("conv.weight", weight.f_reshape([n_classes, width, 1, 1])?),
        ("conv.bias", bias),
    ];
    let mut card = Card {
        format: 1,
        task: Task::Segmentation { classes: classes.to_vec(), threshold: exemplars.threshold },
        head: HeadKind::Linear { position: false },
        backbone: binding.backbone.clone(),
        taps: binding.taps.clone(),
        size: binding.size.clone(),
    };
    card.format = card.format();
    Ok(HeadParts { card, tensors: named.map(|(name, tensor)| (name.to_owned(), tensor)).into() })
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::binding;
    use super::super::store::{Exemplar, Limits, OTHER};
    use super::*;
    use crate::config::Upsampling;
    use crate::geometry::Size;
    use crate::heads::{Coverage, Head, UNLABELLED};

    fn store() -> Exemplars {
        Exemplars::new(binding(), Limits { per_class: 100, in_all: 1000 }, 0.0)
    }

    /// Exemplars around a place of the four channels.
    fn around(place: [f32; 4], n: usize) -> Vec<Exemplar> {
        let noise = |index: usize, channel: usize| ((index * 7 + channel * 13) % 11) as f32 / 11.0 - 0.5;
        let tokens = |index: usize| (0..4).map(|channel| place[channel] + noise(index, channel)).collect();
        let one = |index: usize| Exemplar { tokens: tokens(index) };
        (0..n).map(one).collect()
    }

    const DOOR: [f32; 4] = [10.0, 0.0, 0.0, 300.0];
    const FLOOR: [f32; 4] = [0.0, 10.0, 0.0, 300.0];
    const LAMP: [f32; 4] = [0.0, 0.0, -10.0, 300.0];

    /// What `head` says of patches at these places, in a row.
    fn labels(head: &Head, places: &[[f32; 4]]) -> (Vec<u8>, Vec<f32>) {
        let n = places.len() as i64;
        let tap = |first: usize| {
            let values: Vec<f32> = places.iter().flat_map(|place| [place[first], place[first + 1]]).collect();
            let patches = Tensor::from_slice(&values).reshape([1, n, 2]);
            // Class tokens that would spoil everything if they were read.
            Tensor::cat(&[Tensor::full([1, 8, 2], 1e3, (Kind::Float, Device::Cpu)), patches], 1)
        };
        let raw = head.run(&[tap(0), tap(2)], [1, n]).unwrap();
        let size = Size { width: places.len() as u32, height: 1 };
        let labels = head.labels(&raw, Coverage::Whole(size), Upsampling::Labels).unwrap().unwrap();
        (
            Vec::try_from(labels.classes.flatten(0, -1)).unwrap(),
            Vec::try_from(labels.confidence.flatten(0, -1)).unwrap(),
        )
    }

    #[test]
    fn classes_that_were_pointed_at_are_told_apart() {
        let mut store = store();
        assert!(fitted(&store).unwrap().is_none());
        store.learn("door", around(DOOR, 3)).unwrap();
        assert!(fitted(&store).unwrap().is_none());
        store.learn("floor", around(FLOOR, 12)).unwrap();
        store.learn("lamp", around(LAMP, 4)).unwrap();
        let parts = fitted(&store).unwrap().unwrap();
        let head = Head::of(&parts, Device::Cpu, Kind::Float).unwrap();
        assert_eq!(labels(&head, &[LAMP, DOOR, FLOOR, DOOR]).0, [3, 1, 2, 1]);
        // The same from a file.
        let again =
            Head::parse("taught".as_ref(), &parts.bytes().unwrap(), Device::Cpu, Kind::Float).unwrap();
        assert_eq!((again.card(), again.card().format), (&parts.card, 2));
        assert_eq!(labels(&again, &[LAMP, DOOR, FLOOR]), labels(&head, &[LAMP, DOOR, FLOOR]));
    }

    #[test]
    fn a_class_that_was_forgotten_never_comes() {
        let mut store = store();
        store.learn("door", around(DOOR, 3)).unwrap();
        store.learn("floor", around(FLOOR, 3)).unwrap();
        store.learn(OTHER, around(LAMP, 3)).unwrap();
        store.forget("door").unwrap();
        let parts = fitted(&store).unwrap().unwrap();
        let head = Head::of(&parts, Device::Cpu, Kind::Float).unwrap();
        let (classes, _) = labels(&head, &[FLOOR, LAMP, DOOR]);
        assert_eq!(classes[..2], [2, 0]);
        assert_ne!(classes[2], 1);
    }

    #[test]
    fn what_is_like_nothing_known_is_unlabelled() {
        let mut store = store();
        store.threshold = 0.9;
        store.learn("door", around(DOOR, 5)).unwrap();
        store.learn("floor", around(FLOOR, 5)).unwrap();
        let parts = fitted(&store).unwrap().unwrap();
        let head = Head::of(&parts, Device::Cpu, Kind::Float).unwrap();
        let halfway = [5.0, 5.0, 0.0, 300.0];
        let (classes, confidence) = labels(&head, &[DOOR, halfway, FLOOR]);
        assert_eq!(classes, [1, UNLABELLED, 2], "{confidence:?}");
    }
}
