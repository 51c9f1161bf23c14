//! The stages of the frame path, in the order in which a frame meets them:
//! camera, fit, forward, derive, publish. A stage is a blocking function of its input; it knows
//! neither its neighbours nor a channel.

pub mod camera;
pub mod derive;
pub mod fit;
pub mod forward;
pub mod publish;
