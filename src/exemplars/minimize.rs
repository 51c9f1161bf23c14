//! L-BFGS: the minimum of a smooth convex function of many variables.
//!
//! Nocedal and Wright, Numerical Optimization, 2nd edition: algorithm 7.4 for the direction, 7.5 for the whole,
//! with a step that is halved until the function has fallen enough (equation 3.4).

use std::collections::VecDeque;

use tch::{TchError, Tensor};

/// Pairs of steps and changes of the gradient that are remembered.
const MEMORY: usize = 10;

/// The share of the fall that the gradient promises which a step must bring.
const SUFFICIENT: f64 = 1e-4;

/// A pair with less curvature, beside the square of its change, is left out.
const LEAST_CURVATURE: f64 = 1e-10;

/// Halvings of a step.
const MOST_HALVINGS: usize = 10;

/// A function's value and its gradient, of the shape of the variables.
pub(super) struct Slope {
    pub(super) value: f64,
    pub(super) gradient: Tensor,
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// After so many steps.
    pub(super) n_steps: usize,
    /// When no element of the gradient is larger.
    pub(super) gradient: f64,
}

/// Where `function` is smallest, beginning at `start`. Returns the best place seen.
///
/// # Errors
/// The errors of `function`, and libtorch's own.
pub(super) fn minimum(
    start: Tensor,
    stop: Stop,
    function: impl Fn(&Tensor) -> Result<Slope, TchError>,
) -> Result<Tensor, TchError> {
    let (mut slope, mut place) = (function(&start)?, start);
    let mut past: VecDeque<Pair> = VecDeque::new();
    for _ in 0..stop.n_steps {
        if largest(&slope.gradient)? <= stop.gradient {
            break;
        }
        let mut direction = descent(&slope.gradient, &past)?;
        let mut promised = dot(&slope.gradient, &direction)?;
        if 0.0 <= promised {
            // What is remembered misleads: begin again with the steepest descent.
            past.clear();
            direction = slope.gradient.f_neg()?;
            promised = dot(&slope.gradient, &direction)?;
        }
        // Of the first step only the direction is known.
        let mut length =
            if past.is_empty() { 1.0 / direction.f_norm()?.f_double_value(&[])?.max(1.0) } else { 1.0 };
        let mut stepped = None;
        for _ in 0..MOST_HALVINGS {
            let next = place.f_add(&direction.f_mul_scalar(length)?)?;
            let there = function(&next)?;
            if there.value <= slope.value + SUFFICIENT * length * promised {
                stepped = Some((next, there));
                break;
            }
            length /= 2.0;
        }
        // Float32 tells no difference any more.
        let Some((next, there)) = stepped else { break };
        past.extend(Pair::new(next.f_sub(&place)?, there.gradient.f_sub(&slope.gradient)?)?);
        if MEMORY < past.len() {
            past.pop_front();
        }
        (place, slope) = (next, there);
    }
    Ok(place)
}

/// A step, the change of the gradient along it, and one over their product.
struct Pair {
    step: Tensor,
    change: Tensor,
    scale: f64,
}

impl Pair {
    /// None where the function is not convex along the step, as rounding has it.
    fn new(step: Tensor, change: Tensor) -> Result<Option<Self>, TchError> {
        let curvature = dot(&step, &change)?;
        let least = LEAST_CURVATURE * dot(&change, &change)?;
        Ok((least < curvature).then(|| Self { step, change, scale: 1.0 / curvature }))
    }
}

/// The direction in which the function falls, as the gradient and `past` steps know it.
fn descent(gradient: &Tensor, past: &VecDeque<Pair>) -> Result<Tensor, TchError> {
    let mut direction = gradient.f_neg()?;
    let mut shares = Vec::with_capacity(past.len());
    for Pair { step, change, scale } in past.iter().rev() {
        let share = scale * dot(step, &direction)?;
        direction = direction.f_sub(&change.f_mul_scalar(share)?)?;
        shares.push(share);
    }
    if let Some(Pair { change, scale, .. }) = past.back() {
        direction = direction.f_div_scalar(scale * dot(change, change)?)?;
    }
    for (Pair { step, change, scale }, share) in past.iter().zip(shares.into_iter().rev()) {
        let taken = scale * dot(change, &direction)?;
        direction = direction.f_add(&step.f_mul_scalar(share - taken)?)?;
    }
    Ok(direction)
}

fn dot(one: &Tensor, other: &Tensor) -> Result<f64, TchError> {
    one.f_flatten(0, -1)?.f_dot(&other.f_flatten(0, -1)?)?.f_double_value(&[])
}

fn largest(gradient: &Tensor) -> Result<f64, TchError> {
    gradient.f_abs()?.f_max()?.f_double_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn the_minimum_of_a_stretched_bowl_is_found() {
        let (scales, goal) =
            (Tensor::from_slice(&[1.0f32, 100.0, 0.1, 7.0]), Tensor::from_slice(&[3.0f32, -2.0, 5.0, 0.0]));
        let bowl = |x: &Tensor| {
            let off = x.f_sub(&goal)?;
            let gradient = off.f_mul(&scales)?;
            let value = off.f_mul(&gradient)?.f_sum(Kind::Float)?.f_double_value(&[])? / 2.0;
            Ok(Slope { value, gradient })
        };
        let stop = Stop { n_steps: 60, gradient: 1e-5 };
        let found = minimum(Tensor::zeros([4], (Kind::Float, tch::Device::Cpu)), stop, bowl).unwrap();
        assert!((&found - &goal).abs().max().double_value(&[]) < 1e-3, "{found:?}");
    }

    #[test]
    fn what_cannot_fall_stays_where_it_is() {
        let flat = |x: &Tensor| Ok(Slope { value: 1.0, gradient: x.f_ones_like()? });
        let start = Tensor::from_slice(&[1.0f32, 2.0]);
        let stop = Stop { n_steps: 5, gradient: 1e-5 };
        assert_eq!(minimum(start.shallow_clone(), stop, flat).unwrap(), start);
    }
}
