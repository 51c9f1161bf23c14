//! Fit: one camera picture becomes one model input.
