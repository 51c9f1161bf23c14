//! What goes over the wire: messages, how they are filled, and their publishers. A message that is read
//! becomes a value of [`crate::stages`] or [`crate::geometry`] here.

mod any;
pub(super) mod calibration;
mod fill;
pub mod messages;
pub mod publishers;
pub(in crate::ros) mod short;
