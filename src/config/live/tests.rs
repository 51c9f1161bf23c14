//! What changes while the node runs, and what does not.

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
    check("fit", Value::String("crop".into()), "`fit` is read at start; restart the node with -p fit:=VALUE");
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
            let name =
                if parameter.per_camera { name_of(camera, parameter.name) } else { parameter.name.into() };
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
fn values_as_tools_send_them_are_of_the_parameters_type() {
    let (live, _) = live();
    let check = |name: &str, value: Value, expect: Option<Value>| {
        assert_eq!(live.converted(name, &value), expect, "{name} {value}");
    };
    check("max_rate", Value::Integer(5), Some(Value::Double(5.0)));
    check("engine_build", Value::Bool(false), Some(Value::String("off".into())));
    check("cameras", Value::BoolArray(Vec::new()), Some(Value::StringArray(Vec::new())));
    check("model", Value::Integer(2024), Some(Value::String("2024".into())));
    check("max_rate", Value::String("fast".into()), None);
    check("none", Value::Bool(true), None);
}

#[test]
fn what_the_table_says_is_read_at_start_does_not_change() {
    for parameter in parameters::all().filter(|parameter| !parameter.at_run_time) {
        let (live, _) = live();
        assert!(!live.is_changeable(parameter.name), "{}", parameter.name);
    }
}
