//! The parameters that change while the node runs.

use std::sync::atomic::{AtomicU64, Ordering};

use super::choices::{Choice, LogLevel};
use super::parameters;
use super::settings::Values;
use super::value::Value;

/// What the parameters are now. Shared by threads; reading never waits.
pub struct Live {
    /// As it was at start; what is not changeable stays so.
    at_start: Values,
    max_rate_bits: AtomicU64,
    on_log_level: Box<dyn Fn(LogLevel) + Send + Sync>,
}

impl Live {
    /// Begins with `values`; `on_log_level` hears every later log level.
    pub fn new(values: Values, on_log_level: impl Fn(LogLevel) + Send + Sync + 'static) -> Self {
        let max_rate = match values.get("max_rate") {
            Some(Value::Double(hertz)) => *hertz,
            _ => 0.0,
        };
        Self {
            at_start: values,
            max_rate_bits: AtomicU64::new(max_rate.to_bits()),
            on_log_level: Box::new(on_log_level),
        }
    }

    /// Upper bound of frames per second; `None` takes every frame.
    pub fn max_rate(&self) -> Option<f64> {
        let hertz = f64::from_bits(self.max_rate_bits.load(Ordering::Relaxed));
        (hertz > 0.0).then_some(hertz)
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
            ("max_rate", Value::Double(hertz)) => {
                self.max_rate_bits.store(hertz.to_bits(), Ordering::Relaxed)
            }
            ("log_level", Value::String(word)) => {
                LogLevel::from_word(&word).into_iter().for_each(&self.on_log_level);
            }
            _ => {}
        }
        Ok(())
    }

    fn checked(&self, name: &str, value: &Value) -> Result<Value, String> {
        if name.starts_with("qos_overrides.") {
            return Ok(value.clone());
        }
        let parameter = parameters::find(name).ok_or_else(|| format!("there is no parameter `{name}`"))?;
        let checked = parameter
            .check(value)
            .map_err(|reason| format!("`{name}` cannot be {value} ({}): {reason}", value.type_name()))?;
        if parameter.at_run_time || self.at_start.get(name) == Some(&checked) {
            return Ok(checked);
        }
        Err(format!("`{name}` is read at start; restart the node with -p {name}:=VALUE"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::settings::{Origin, Settings};
    use super::*;

    fn live() -> (Live, Arc<Mutex<Vec<LogLevel>>>) {
        let mut settings = Settings::default();
        let model = parameters::find("model").unwrap();
        settings.set(model, Value::String("random:tiny".into()), Origin::Default);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&heard);
        let live = Live::new(Values::new(&settings).unwrap(), move |level| hear.lock().unwrap().push(level));
        (live, heard)
    }

    fn check(name: &str, value: Value, expect: &str) {
        let (live, _) = live();
        let said = live.apply(name, &value).err().unwrap_or_else(|| format!("{:?}", live.max_rate()));
        assert_eq!(said, expect);
    }

    #[test]
    fn what_is_changeable_changes_and_the_rest_is_refused_with_the_way_out() {
        check("max_rate", Value::Double(7.5), "Some(7.5)");
        check("max_rate", Value::Integer(3), "Some(3.0)");
        check("max_rate", Value::Double(0.0), "None");
        check("use_sim_time", Value::Bool(true), "None");
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
    }

    #[test]
    fn a_new_log_level_is_told_and_an_asked_one_is_not() {
        let (live, heard) = live();
        live.check("log_level", &Value::String("error".into())).unwrap();
        live.apply("log_level", &Value::String("debug".into())).unwrap();
        assert_eq!(*heard.lock().unwrap(), [LogLevel::Debug]);
    }
}
