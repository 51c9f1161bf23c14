//! The parameters that change while the node runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::choices::{Choice, LogLevel};
use super::parameters::{self, Parameter};
use super::settings::Values;
use super::value::Value;

/// What the parameters are now. Shared by threads; reading never waits.
pub struct Live {
    /// As it was at start; what is not changeable stays so.
    at_start: Values,
    /// Of every camera: the parameter and its value, in the order of `cameras`.
    max_rates: Vec<(String, Double)>,
    max_age: Double,
    min_depth: Double,
    max_depth: Double,
    overlay_opacity: Double,
    publish: [AtomicBool; 4],
    is_enabled: AtomicBool,
    on_log_level: Box<dyn Fn(LogLevel) + Send + Sync>,
}

/// A number that changes.
struct Double(AtomicU64);

impl Double {
    fn of(values: &Values, name: &str) -> Self {
        let value = if let Some(Value::Double(value)) = values.get(name) { *value } else { 0.0 };
        Self(AtomicU64::new(value.to_bits()))
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Nothing for zero, which stands for no limit.
    fn limit(&self) -> Option<f64> {
        Some(self.get()).filter(|value| 0.0 < *value)
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

/// The flags of [`Outputs`], in its order.
const PUBLISH: [&str; 4] = ["publish_features", "publish_embedding", "publish_depth", "publish_segmentation"];

/// Which groups of outputs may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// `~/features`, what is reduced from it, and `~/similarity`.
    pub features: bool,
    /// `~/embedding`.
    pub embedding: bool,
    /// `~/depth` and `~/points`.
    pub depth: bool,
    /// `~/segmentation`.
    pub segmentation: bool,
}

/// Between which depths, in metres, there is something to tell; `None` has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DepthLimits {
    /// Nearer is too near.
    pub min: Option<f64>,
    /// Farther is too far.
    pub max: Option<f64>,
}

impl Live {
    /// Begins with `values`; `on_log_level` hears every later log level.
    pub fn new(values: Values, on_log_level: impl Fn(LogLevel) + Send + Sync + 'static) -> Self {
        let names = match values.get("cameras") {
            Some(Value::StringArray(names)) if !names.is_empty() => {
                names.iter().map(|camera| format!("{camera}.max_rate")).collect()
            }
            _ => vec!["max_rate".to_owned()],
        };
        let double = |name: &str| Double::of(&values, name);
        Self {
            max_rates: names.into_iter().map(|name| (name.clone(), double(&name))).collect(),
            max_age: double("max_age"),
            min_depth: double("min_depth"),
            max_depth: double("max_depth"),
            overlay_opacity: double("overlay_opacity"),
            publish: PUBLISH.map(|name| AtomicBool::new(values.get(name) == Some(&Value::Bool(true)))),
            is_enabled: AtomicBool::new(true),
            at_start: values,
            on_log_level: Box::new(on_log_level),
        }
    }

    /// Upper bound of frames per second of a camera, by its index; `None` takes every frame.
    pub fn max_rate(&self, camera: usize) -> Option<f64> {
        self.max_rates.get(camera).and_then(|(_, rate)| rate.limit())
    }

    /// Longest time in seconds that a frame waits for the model; `None` has no limit.
    pub fn max_age_secs(&self) -> Option<f64> {
        self.max_age.limit()
    }

    /// The depths that are told.
    pub fn depth_limits(&self) -> DepthLimits {
        DepthLimits { min: self.min_depth.limit(), max: self.max_depth.limit() }
    }

    /// How much of the picture the colours of the overlay hide, 0 to 1.
    pub fn overlay_opacity(&self) -> f32 {
        self.overlay_opacity.get() as f32
    }

    /// What may be made now: nothing while the node is not enabled.
    pub fn outputs(&self) -> Outputs {
        let is_enabled = self.is_enabled();
        let [features, embedding, depth, segmentation] =
            [0, 1, 2, 3].map(|index: usize| is_enabled && self.publish[index].load(Ordering::Relaxed));
        Outputs { features, embedding, depth, segmentation }
    }

    /// Whether the node works at all.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Relaxed)
    }

    /// Has the node work, or only listen.
    pub fn set_enabled(&self, is_enabled: bool) {
        self.is_enabled.store(is_enabled, Ordering::Relaxed);
    }

    /// Whether `name` may become `value` now. What is read at start may only stay as it is.
    ///
    /// # Errors
    /// Why not, for whoever asked.
    pub fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        self.checked(name, value).map(drop)
    }

    /// Makes `name` be `value` from now on.
    ///
    /// # Errors
    /// As [`Live::check`]; then nothing changes.
    pub fn apply(&self, name: &str, value: &Value) -> Result<(), String> {
        match (name, self.checked(name, value)?) {
            ("max_age", Value::Double(secs)) => self.max_age.set(secs),
            ("min_depth", Value::Double(meters)) => self.min_depth.set(meters),
            ("max_depth", Value::Double(meters)) => self.max_depth.set(meters),
            ("overlay_opacity", Value::Double(share)) => self.overlay_opacity.set(share),
            ("log_level", Value::String(word)) => {
                LogLevel::from_word(&word).into_iter().for_each(&self.on_log_level);
            }
            (_, Value::Double(hertz)) => {
                self.max_rates.iter().filter(|(of, _)| of == name).for_each(|(_, rate)| rate.set(hertz));
            }
            (_, Value::Bool(flag)) => {
                let named = PUBLISH.iter().zip(&self.publish).filter(|(of, _)| **of == name);
                named.for_each(|(_, publish)| publish.store(flag, Ordering::Relaxed));
            }
            _ => {}
        }
        Ok(())
    }

    fn checked(&self, name: &str, value: &Value) -> Result<Value, String> {
        if name.starts_with("qos_overrides.") {
            return Ok(value.clone());
        }
        let parameter = self.find(name).ok_or_else(|| format!("there is no parameter `{name}`"))?;
        let checked = parameter
            .check(value)
            .map_err(|reason| format!("`{name}` cannot be {value} ({}): {reason}", value.type_name()))?;
        if self.at_start.get(name) == Some(&checked) {
            return Ok(checked);
        }
        if !parameter.at_run_time {
            return Err(format!("`{name}` is read at start; restart the node with -p {name}:=VALUE"));
        }
        if let Some(of_first) = self.rate_instead_of(name) {
            return Err(format!("with several cameras each has its own `max_rate`: set {of_first}"));
        }
        match (name, &checked) {
            ("min_depth", Value::Double(min)) => depth_range(*min, self.max_depth.get())?,
            ("max_depth", Value::Double(max)) => depth_range(self.min_depth.get(), *max)?,
            _ => {}
        }
        Ok(checked)
    }

    /// Whether the parameter of that name may change now.
    pub(super) fn is_changeable(&self, name: &str, parameter: &Parameter) -> bool {
        parameter.at_run_time && self.rate_instead_of(name).is_none()
    }

    /// The rate of the first of several cameras where `name` is the one of all.
    fn rate_instead_of(&self, name: &str) -> Option<&str> {
        let (of_first, _) = self.max_rates.first()?;
        (name == "max_rate" && of_first != name).then_some(of_first)
    }

    pub(super) fn find(&self, name: &str) -> Option<&'static Parameter> {
        // Whether there is such a camera, the values at start know.
        let of_camera = || parameters::find_of_camera(name).filter(|_| self.at_start.get(name).is_some());
        parameters::find(name).or_else(|| of_camera().map(|(_, parameter)| parameter))
    }
}

/// Whether there is a depth between the limits, of which zero is none.
///
/// # Errors
/// What is wrong.
pub(super) fn depth_range(min: f64, max: f64) -> Result<(), String> {
    match 0.0 < max && max <= min {
        true => Err(format!("nothing is between a `min_depth` of {min} m and a `max_depth` of {max} m")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::settings::{Origin, Settings};
    use super::*;

    fn live() -> (Live, Arc<Mutex<Vec<LogLevel>>>) {
        live_with(&[])
    }

    fn names(names: &[&str]) -> Value {
        Value::StringArray(names.iter().map(|&name| name.to_owned()).collect())
    }

    fn live_with(given: &[(&str, Value)]) -> (Live, Arc<Mutex<Vec<LogLevel>>>) {
        let mut settings = Settings::default();
        settings.set("model", Value::String("random:tiny".into()), Origin::Default);
        given.iter().for_each(|(name, value)| settings.set(name, value.clone(), Origin::Default));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&heard);
        let live = Live::new(Values::new(&settings).unwrap(), move |level| hear.lock().unwrap().push(level));
        (live, heard)
    }

    fn check(name: &str, value: Value, expect: &str) {
        let (live, _) = live();
        let said = live.apply(name, &value).err().unwrap_or_else(|| format!("{:?}", live.max_rate(0)));
        assert_eq!(said, expect);
    }

    #[test]
    fn what_is_changeable_changes_and_the_rest_is_refused_with_the_way_out() {
        check("max_rate", Value::Double(7.5), "Some(7.5)");
        check("max_rate", Value::Integer(3), "Some(3.0)");
        check("max_rate", Value::Double(0.0), "None");
        check("use_sim_time", Value::Bool(false), "None");
        check("qos_overrides./image.subscription.depth", Value::Integer(1), "None");
        check("fit", Value::String("stretch".into()), "None");
        check(
            "fit",
            Value::String("crop".into()),
            "`fit` is read at start; restart the node with -p fit:=VALUE",
        );
        check(
            "max_rate",
            Value::Double(f64::NAN),
            "`max_rate` cannot be NaN (double): valid is a number from 0 to 1000 Hz",
        );
        check(
            "log_level",
            Value::String("loud".into()),
            "`log_level` cannot be \"loud\" (string): valid is debug, info, warn or error",
        );
        check("gain", Value::Integer(1), "there is no parameter `gain`");
        check("front.max_rate", Value::Double(1.0), "there is no parameter `front.max_rate`");
    }

    #[test]
    fn each_camera_has_a_rate_of_its_own() {
        let (live, _) =
            live_with(&[("cameras", names(&["front", "rear"])), ("rear.max_rate", Value::Integer(2))]);
        assert_eq!((live.max_rate(0), live.max_rate(1)), (None, Some(2.0)));
        live.apply("front.max_rate", &Value::Double(9.0)).unwrap();
        assert_eq!((live.max_rate(0), live.max_rate(1), live.max_rate(2)), (Some(9.0), Some(2.0), None));
        let refused = |name: &str, value| live.apply(name, &value).unwrap_err();
        let said = "with several cameras each has its own `max_rate`: set front.max_rate";
        assert_eq!(refused("max_rate", Value::Double(1.0)), said);
        let said =
            "`front.image_transport` is read at start; restart the node with -p front.image_transport:=VALUE";
        assert_eq!(refused("front.image_transport", Value::String("compressed".into())), said);
        assert_eq!(refused("left.max_rate", Value::Double(1.0)), "there is no parameter `left.max_rate`");
    }

    #[test]
    fn outputs_and_limits_follow_their_parameters() {
        let (live, _) = live_with(&[]);
        live.apply("publish_depth", &Value::Bool(false)).unwrap();
        let all_but_depth = Outputs { features: true, embedding: true, depth: false, segmentation: true };
        assert_eq!(live.outputs(), all_but_depth);
        live.set_enabled(false);
        assert_eq!(
            live.outputs(),
            Outputs { features: false, embedding: false, depth: false, segmentation: false }
        );
        live.set_enabled(true);
        assert_eq!(live.outputs(), all_but_depth);
        live.apply("max_depth", &Value::Double(4.0)).unwrap();
        let said = "nothing is between a `min_depth` of 4 m and a `max_depth` of 4 m";
        assert_eq!(live.apply("min_depth", &Value::Double(4.0)).unwrap_err(), said);
        live.apply("min_depth", &Value::Double(0.5)).unwrap();
        assert_eq!(live.depth_limits(), DepthLimits { min: Some(0.5), max: Some(4.0) });
        live.apply("overlay_opacity", &Value::Double(0.25)).unwrap();
        live.apply("max_age", &Value::Double(0.0)).unwrap();
        assert_eq!((live.overlay_opacity(), live.max_age_secs()), (0.25, None));
    }

    #[test]
    fn a_new_log_level_is_told_and_an_asked_one_is_not() {
        let (live, heard) = live();
        live.check("log_level", &Value::String("error".into())).unwrap();
        live.apply("log_level", &Value::String("debug".into())).unwrap();
        assert_eq!(*heard.lock().unwrap(), [LogLevel::Debug]);
    }
}
