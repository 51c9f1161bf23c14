//! The wiring: the only place that knows stages, channels and threads at once.
