//! The range of depths that are published.

/// Between which depths, in metres, there is something to tell; `None` has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DepthLimits {
    /// Nearer is too near.
    pub min: Option<f64>,
    /// Farther is too far.
    pub max: Option<f64>,
}

impl DepthLimits {
    /// Whether there is a depth between `min` and `max` in metres, of which zero stands for no limit.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(min: f64, max: f64) -> Result<(), String> {
        match 0.0 < max && max <= min {
            true => Err(format!("nothing is between a `min_depth` of {min} m and a `max_depth` of {max} m")),
            false => Ok(()),
        }
    }
}
