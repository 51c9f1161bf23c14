//! The parameters that change while the node runs: a cell for each that the table says is changeable.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::choices::{Choice, LogLevel};
use super::depth::DepthLimits;
use super::parameters::{self, Kind, Parameter};
use super::settings::Values;
use super::value::Value;

/// What the parameters are now. Shared by threads; reading never waits.
pub struct Live {
    /// As it was at start; what is not changeable stays so.
    at_start: Values,
    /// By name, such as `max_age`, or `front.max_rate` where the camera has a name.
    cells: BTreeMap<String, Cell>,
    /// Names of the cameras; one without a name where there is only one.
    cameras: Vec<String>,
    is_enabled: AtomicBool,
    on_log_level: Box<dyn Fn(LogLevel) + Send + Sync>,
}

/// A value that changes.
#[derive(Debug)]
enum Cell {
    /// Bits of a double.
    Double(AtomicU64),
    Flag(AtomicBool),
    /// Index of the word among those that the parameter allows.
    Word(AtomicUsize, Vec<&'static str>),
}

impl Cell {
    /// A cell for a value of `kind`; `None` for a kind that cannot change.
    fn of(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::Double(..) => Some(Self::Double(AtomicU64::default())),
            Kind::Bool => Some(Self::Flag(AtomicBool::default())),
            Kind::Choice(words) => Some(Self::Word(AtomicUsize::default(), words())),
            Kind::Integer(..) | Kind::Text(..) | Kind::WordOrInteger(..) | Kind::Names(_) => None,
        }
    }

    /// Takes `value`. Whether it could.
    fn set(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Double(bits), Value::Double(value)) => bits.store(value.to_bits(), Ordering::Relaxed),
            (Self::Flag(flag), Value::Bool(value)) => flag.store(*value, Ordering::Relaxed),
            (Self::Word(index, words), Value::String(word)) => {
                let Some(position) = words.iter().position(|known| known == word) else { return false };
                index.store(position, Ordering::Relaxed);
            }
            _ => return false,
        }
        true
    }
}

/// Which groups of outputs may be made.
#[expect(clippy::struct_excessive_bools, reason = "four switches that are independent")]
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

impl Live {
    /// Begins with `values`; `on_log_level` hears every later log level.
    pub fn new(values: Values, on_log_level: impl Fn(LogLevel) + Send + Sync + 'static) -> Self {
        let cameras = match values.get("cameras") {
            Some(Value::StringArray(names)) if !names.is_empty() => names.clone(),
            _ => vec![String::new()],
        };
        let mut cells = BTreeMap::new();
        for parameter in parameters::all().filter(|parameter| parameter.at_run_time) {
            let names = match parameter.per_camera {
                true => cameras.iter().map(|camera| name_of(camera, parameter.name)).collect(),
                false => vec![parameter.name.to_owned()],
            };
            for name in names {
                if let (Some(cell), Some(value)) = (Cell::of(&parameter.kind), values.get(&name)) {
                    cell.set(value);
                    cells.insert(name, cell);
                }
            }
        }
        let is_enabled = AtomicBool::new(true);
        Self { at_start: values, cells, cameras, is_enabled, on_log_level: Box::new(on_log_level) }
    }

    /// Upper bound of frames per second of a camera, by its index; `None` takes every frame.
    pub fn max_rate(&self, camera: usize) -> Option<f64> {
        self.cameras.get(camera).and_then(|camera| self.limit(&name_of(camera, "max_rate")))
    }

    /// Longest time in seconds that a frame waits for the model; `None` has no limit.
    pub fn max_age_secs(&self) -> Option<f64> {
        self.limit("max_age")
    }

    /// The depths that are told.
    pub fn depth_limits(&self) -> DepthLimits {
        DepthLimits { min: self.limit("min_depth"), max: self.limit("max_depth") }
    }

    /// How much of the image the colours of the overlay hide, 0 to 1.
    pub fn overlay_opacity(&self) -> f32 {
        self.double("overlay_opacity") as f32
    }

    /// What may be made now: nothing while the node is not enabled.
    pub fn outputs(&self) -> Outputs {
        let is_enabled = self.is_enabled();
        let publishes = |name| is_enabled && self.flag(name);
        Outputs {
            features: publishes("publish_features"),
            embedding: publishes("publish_embedding"),
            depth: publishes("publish_depth"),
            segmentation: publishes("publish_segmentation"),
        }
    }

    /// Whether the node works at all.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Relaxed)
    }

    /// Has the node work, or only listen.
    pub fn set_enabled(&self, is_enabled: bool) {
        self.is_enabled.store(is_enabled, Ordering::Relaxed);
    }

    fn double(&self, name: &str) -> f64 {
        match self.cells.get(name) {
            Some(Cell::Double(bits)) => f64::from_bits(bits.load(Ordering::Relaxed)),
            _ => 0.0,
        }
    }

    /// Nothing for zero, which stands for no limit.
    fn limit(&self, name: &str) -> Option<f64> {
        Some(self.double(name)).filter(|value| 0.0 < *value)
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.cells.get(name), Some(Cell::Flag(flag)) if flag.load(Ordering::Relaxed))
    }

    fn word(&self, name: &str) -> Option<&'static str> {
        match self.cells.get(name)? {
            Cell::Word(index, words) => words.get(index.load(Ordering::Relaxed)).copied(),
            Cell::Double(_) | Cell::Flag(_) => None,
        }
    }

    /// Whether `name` may become `value` now. What is read at start may only stay as it is.
    ///
    /// # Errors
    /// Why not, for the caller.
    pub fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        self.checked(name, value).map(drop)
    }

    /// Makes `name` be `value` from now on.
    ///
    /// # Errors
    /// As [`Live::check`]; then nothing changes.
    pub fn apply(&self, name: &str, value: &Value) -> Result<(), String> {
        let value = self.checked(name, value)?;
        // Without a cell it stays as it is, which is what was asked for.
        let Some(cell) = self.cells.get(name) else { return Ok(()) };
        if !cell.set(&value) {
            return Err(format!("`{name}` cannot become {value} while the node runs"));
        }
        if name == "log_level" {
            self.word(name).and_then(LogLevel::from_word).into_iter().for_each(&self.on_log_level);
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
        if !self.cells.contains_key(name) {
            let of_first = self.cameras.first().map(|camera| name_of(camera, name)).unwrap_or_default();
            return Err(format!("with several cameras each has its own `{name}`: set {of_first}"));
        }
        match (name, &checked) {
            ("min_depth", Value::Double(min)) => DepthLimits::check(*min, self.double("max_depth"))?,
            ("max_depth", Value::Double(max)) => DepthLimits::check(self.double("min_depth"), *max)?,
            _ => {}
        }
        Ok(checked)
    }

    /// Whether the parameter of that name may change now.
    pub(super) fn is_changeable(&self, name: &str) -> bool {
        self.cells.contains_key(name)
    }

    pub(super) fn find(&self, name: &str) -> Option<&'static Parameter> {
        // Whether there is such a camera, the values at start know.
        let of_camera = || parameters::find_of_camera(name).filter(|_| self.at_start.get(name).is_some());
        parameters::find(name).or_else(|| of_camera().map(|(_, parameter)| parameter))
    }
}

/// The name of a camera's own `parameter`.
fn name_of(camera: &str, parameter: &str) -> String {
    if camera.is_empty() { parameter.to_owned() } else { format!("{camera}.{parameter}") }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::origin::Origin;
    use super::super::settings::Settings;
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
        let answer = live.apply(name, &value).err().unwrap_or_else(|| format!("{:?}", live.max_rate(0)));
        assert_eq!(answer, expect);
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
        let answer = "with several cameras each has its own `max_rate`: set front.max_rate";
        assert_eq!(refused("max_rate", Value::Double(1.0)), answer);
        let answer =
            "`front.image_transport` is read at start; restart the node with -p front.image_transport:=VALUE";
        assert_eq!(refused("front.image_transport", Value::String("compressed".into())), answer);
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
        let answer = "nothing is between a `min_depth` of 4 m and a `max_depth` of 4 m";
        assert_eq!(live.apply("min_depth", &Value::Double(4.0)).unwrap_err(), answer);
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

    /// Everything that the node reads of its changeable parameters, but for the log level.
    fn readings(live: &Live) -> String {
        let (rates, age) = ([0, 1].map(|camera| live.max_rate(camera)), live.max_age_secs());
        format!("{rates:?} {age:?} {:?} {} {:?}", live.depth_limits(), live.overlay_opacity(), live.outputs())
    }

    /// Valid values of a changeable parameter, other than its default.
    fn others(parameter: &Parameter) -> Vec<Value> {
        let candidates = match parameter.kind {
            Kind::Bool => vec![Value::Bool(true), Value::Bool(false)],
            Kind::Double(min, max) => vec![Value::Double(min + (max - min) / 4.0), Value::Double(max)],
            Kind::Choice(words) => words().into_iter().map(|word| Value::String(word.into())).collect(),
            ref kind => panic!("{kind:?} has no cell"),
        };
        let default = parameter.default_value();
        candidates.into_iter().filter(|value| Some(value) != default.as_ref()).collect()
    }

    #[test]
    fn every_changeable_parameter_changes_what_the_node_reads() {
        for cameras in [&[][..], &["front", "rear"]] {
            for parameter in parameters::all().filter(|parameter| parameter.at_run_time) {
                let camera = cameras.last().copied().unwrap_or_default();
                let name = if parameter.per_camera {
                    name_of(camera, parameter.name)
                } else {
                    parameter.name.into()
                };
                for value in others(parameter) {
                    let (live, heard) = live_with(&[("cameras", names(cameras))]);
                    assert!(live.is_changeable(&name), "{name}");
                    let before = readings(&live);
                    live.apply(&name, &value).unwrap();
                    let is_heard = !heard.lock().unwrap().is_empty();
                    assert!(before != readings(&live) || is_heard, "{name} = {value} changes nothing");
                    let default = parameter.default_value().unwrap();
                    live.apply(&name, &default).unwrap();
                    assert_eq!(readings(&live), before, "{name} back at {default}");
                }
            }
        }
    }

    #[test]
    fn what_the_table_says_is_read_at_start_does_not_change() {
        for parameter in parameters::all().filter(|parameter| !parameter.at_run_time) {
            let (live, _) = live();
            assert!(!live.is_changeable(parameter.name), "{}", parameter.name);
        }
    }
}
