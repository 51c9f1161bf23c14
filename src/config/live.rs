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

    /// `value` in the type of the parameter `name`, if it can be that: tools that set parameters read texts
    /// as YAML, and send `off` as false, 5 as a whole number, and an empty list as one of booleans.
    pub fn converted(&self, name: &str, value: &Value) -> Option<Value> {
        self.find(name)?.check(value).ok()
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
mod tests;
