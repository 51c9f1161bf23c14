//! What becomes of settings as a whole, and that `config/pixio.yaml` says what the table says.

use super::parameters::{self, Parameter};
use super::*;

fn settings(given: &[(&str, Value)]) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in given {
        let Ok(Ownership::Ours) = Settings::place(name, &Origin::Default) else {
            panic!("{name} is no parameter");
        };
        settings.set(name, value.clone(), Origin::Option(format!("--{name}")));
    }
    settings
}

/// The configuration that `settings` make.
fn configured(settings: &Settings) -> Result<Config, ConfigError> {
    Config::from_values(&Values::new(settings)?)
}

fn string(text: &str) -> Value {
    Value::String(text.into())
}

#[test]
fn the_defaults_make_a_configuration_once_there_is_a_model() {
    let config = configured(&settings(&[("model", string("random:tiny"))])).unwrap();
    let expect = Config {
        model: "random:tiny".into(),
        device: Device::Auto,
        precision: Precision::Auto,
        engine: EngineChoice::Auto,
        engine_cache: None,
        engine_build: EngineBuild::Off,
        cuda_graph: true,
        threads: None,
        streams: None,
        size: Size { width: 256, height: 256 },
        fit: Fit::Stretch,
        resize_filter: ResizeFilter::Exact,
        max_image_pixels: 25_000_000,
        layer: None,
        depth_head: None,
        segmentation_head: None,
        teaching: false,
        exemplars_per_class: 100,
        exemplars_in_all: 2000,
        teaching_threshold: 0.0,
        segmentation_upsampling: Upsampling::Logits,
        depth_resolution: DepthResolution::Model,
        points_stride: None,
        cameras: vec![CameraConfig {
            name: String::new(),
            transport: ImageTransport::Raw,
            reliability: Reliability::BestEffort,
            expected_rate: None,
        }],
        batch_max: 8,
        output_reliability: None,
        network_interface: NetworkInterface::Auto,
        pace: SendPace { burst_bytes: 140_000, bytes_per_second: 200_000_000 },
        features_dtype: FeaturesDtype::Float16,
        reduced_channels: 16,
        pca_basis: None,
        stats_period_secs: 10.0,
        stats_file: None,
        log_level: LogLevel::Info,
        use_sim_time: false,
        live_port: None,
        live_address: [127, 0, 0, 1].into(),
    };
    assert_eq!(config, expect);
}

#[test]
fn without_a_model_the_error_says_how_to_give_one() {
    let answer = configured(&Settings::default()).unwrap_err().to_string();
    assert!(answer.contains("--model DIR") && answer.contains("random:tiny"), "{answer}");
}

#[test]
fn a_read_of_a_parameter_that_the_table_lacks_is_told_as_such() {
    let values = Values::new(&settings(&[("model", string("m"))])).unwrap();
    let answer = values.read("modle", |_| Some(())).unwrap_err().to_string();
    assert!(answer.contains("reads `modle`, but there is no such parameter"), "{answer}");
}

/// Gives `value` to `name` and compares the whole configuration, as debug text, or the error.
fn check(name: &str, value: Value, expect: &str) {
    let answer = match configured(&settings(&[("model", string("m")), (name, value)])) {
        Ok(config) => format!("{config:?}"),
        Err(err) => err.to_string(),
    };
    assert!(answer.contains(expect), "{answer}\ndoes not contain\n{expect}");
}

#[test]
fn each_value_lands_in_its_field() {
    check("model", string("other"), "model: \"other\"");
    check("device", string("cuda:1"), "device: Cuda(1)");
    check("device", string("cuda"), "device: Cuda(0)");
    check("precision", string("bfloat16"), "precision: Bfloat16");
    check("precision", string("int8"), "precision: Int8");
    check("engine", string("eager"), "engine: Eager");
    check("engine", string("auto"), "engine: Auto");
    check("engine", string("/e"), "engine: Folder(\"/e\")");
    check("engine_cache", string("/c"), "engine_cache: Some(\"/c\")");
    check("engine_build", string("background"), "engine_build: Background");
    check("engine_build", Value::Bool(false), "engine_build: Off");
    check("cuda_graph", Value::Bool(false), "cuda_graph: false");
    check("threads", Value::Integer(2), "threads: Some(2)");
    check("size", string("336x192"), "size: Size { width: 336, height: 192 }");
    check("fit", string("letterbox"), "fit: Letterbox");
    check("resize_filter", string("linear"), "resize_filter: Linear");
    check("max_image_pixels", Value::Integer(64_000_000), "max_image_pixels: 64000000");
    check("layer", Value::Integer(11), "layer: Some(11)");
    check("image_transport", string("compressed"), "transport: Compressed");
    check("image_reliability", string("reliable"), "reliability: Reliable");
    check("expected_rate", Value::Double(15.0), "expected_rate: Some(15.0)");
    check("batch_max", Value::Integer(4), "batch_max: 4");
    check("output_reliability", string("best_effort"), "output_reliability: Some(BestEffort)");
    check("network_interface", string("10.0.0.7"), "network_interface: Address(10.0.0.7)");
    check("features_dtype", string("float32"), "features_dtype: Float32");
    check("reduced_channels", Value::Integer(64), "reduced_channels: 64");
    check("pca_basis", string("/b.safetensors"), "pca_basis: Some(\"/b.safetensors\")");
    check("streams", Value::Integer(3), "streams: Some(3)");
    check("stats_period", Value::Double(0.5), "stats_period_secs: 0.5");
    check("stats_file", string("/s.jsonl"), "stats_file: Some(\"/s.jsonl\")");
    check("log_level", string("debug"), "log_level: Debug");
    check("use_sim_time", string("on"), "use_sim_time: true");
    check("live_port", Value::Integer(8470), "live_port: Some(8470)");
    check("live_address", string("::1"), "live_address: ::1");
}

#[test]
fn what_cannot_be_is_refused_with_who_said_it_what_and_what_is_valid() {
    check(
        "fit",
        string("fill"),
        "--fit: `fit` cannot be \"fill\" (string): valid is stretch, letterbox, crop, auto or window",
    );
    check("fit", Value::Bool(true), "`fit` cannot be true (bool): valid is stretch");
    check(
        "threads",
        Value::Double(2.0),
        "`threads` cannot be 2.0 (double): valid is a whole number from 0 to 1024 threads",
    );
    check("threads", Value::Integer(-1), "cannot be -1");
    check("reduced_channels", Value::Integer(65), "valid is a whole number from 1 to 64 channels");
    check("layer", Value::Integer(0), "valid is last or a whole number from 1");
    check("layer", string("first"), "valid is last or a whole number from 1");
    check("streams", Value::Integer(65), "valid is auto or a whole number from 1 to 64");
    check("max_rate", Value::Double(f64::INFINITY), "cannot be inf (double)");
    check("max_rate", string("fast"), "valid is a number from 0 to 1000 Hz");
    check(
        "size",
        string("250x256"),
        "the width 250 cannot be cut into patches of 16; 256 is nearest; valid is WIDTHxHEIGHT",
    );
    check("size", Value::Integer(256), "valid is WIDTHxHEIGHT in pixels");
    check("device", string("gpu"), "valid is auto, cpu, cuda or cuda:N");
    check("network_interface", string("eth0"), "valid is auto or an IP address");
    check("model", string(""), "it must not be empty");
    check("use_sim_time", Value::Integer(1), "valid is true or false");
    check("stats_file", Value::StringArray(vec![]), "cannot be [] (string_array)");
    check("cameras", names(&["front", "2nd"]), "`2nd` begins with a digit; valid is a list of names");
    check("cameras", names(&["front", "front"]), "`front` is there twice; valid is");
    check("cameras", string("front/left"), "`/` is not a letter, a digit or `_`");
    check(
        "front.max_rate",
        Value::Double(1.0),
        "`front.max_rate` is for a camera that `cameras` does not name: it is []",
    );
    check("max_depth", Value::Double(-1.0), "valid is a number from 0 to 1000000 m");
}

fn names(names: &[&str]) -> Value {
    Value::StringArray(names.iter().map(|&name| name.to_owned()).collect())
}

/// The cameras that come of what is given beside a model, or the error.
fn check_cameras(given: &[(&str, Value)], expect: &str) {
    let given: Vec<_> = [("model", string("m"))].into_iter().chain(given.iter().cloned()).collect();
    let camera = |CameraConfig { name, transport, reliability, expected_rate }: &CameraConfig| {
        format!("{name:?} {transport:?} {reliability:?} {}", expected_rate.unwrap_or_default())
    };
    let answer = match configured(&settings(&given)) {
        Ok(config) => config.cameras.iter().map(camera).collect::<Vec<_>>().join("; "),
        Err(err) => err.to_string(),
    };
    assert_eq!(answer, expect);
}

#[test]
fn a_camera_has_its_own_settings_or_those_of_all() {
    check_cameras(&[], "\"\" Raw BestEffort 0");
    check_cameras(&[("cameras", names(&[])), ("expected_rate", Value::Integer(5))], "\"\" Raw BestEffort 5");
    // What launch makes of an empty list.
    check_cameras(&[("cameras", names(&[""]))], "\"\" Raw BestEffort 0");
    check_cameras(
        &[("cameras", string("left, right"))],
        "\"left\" Raw BestEffort 0; \"right\" Raw BestEffort 0",
    );
    check_cameras(
        &[
            ("right.image_transport", string("raw")),
            ("right.expected_rate", Value::Double(7.5)),
            ("image_transport", string("compressed")),
            ("left.image_reliability", string("reliable")),
            ("cameras", names(&["left", "right"])),
        ],
        "\"left\" Compressed Reliable 0; \"right\" Raw BestEffort 7.5",
    );
    check_cameras(
        &[("cameras", names(&["left"])), ("left.image_transport", string("h264"))],
        "--left.image_transport: `left.image_transport` cannot be \"h264\" (string): valid is raw or \
         compressed",
    );
    check_cameras(
        &[("cameras", names(&["left", "rear"])), ("right.max_rate", Value::Double(1.0))],
        "--right.max_rate: `right.max_rate` is for a camera that `cameras` does not name: they are left, \
         rear",
    );
}

#[test]
fn a_slip_in_a_cameras_parameter_is_told_with_the_nearest() {
    let answer = Settings::place("left.max_rat", &Origin::Default).unwrap_err().to_string();
    assert!(answer.contains("the nearest valid name is `left.max_rate`"), "{answer}");
    let answer = Settings::place("left.size", &Origin::Default).unwrap_err().to_string();
    assert!(answer.contains("there is no parameter `left.size`"), "{answer}");
}

/// How `config/pixio.yaml` documents a parameter.
fn documented(parameter: &Parameter) -> String {
    let changes = if parameter.at_run_time { "Changes at run time." } else { "Read at start." };
    let own = if parameter.per_camera { " Each camera may have its own." } else { "" };
    let text = format!("{} Valid: {}. {changes}{own}", parameter.doc, parameter.valid());
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 92 => *line += &format!(" {word}"),
            _ => lines.push(format!(" {word}")),
        }
    }
    let comment: String = lines.iter().map(|line| format!("    #{line}\n")).collect();
    let name = parameter.name;
    match (parameter.default, &parameter.default_value()) {
        (None, _) => format!("{comment}    # Required.\n    # {name}: random:tiny\n"),
        (Some(""), _) => format!("{comment}    {name}: \"\"\n"),
        (Some(default), _) => format!("{comment}    {name}: {default}\n"),
    }
}

#[test]
fn the_documented_file_says_what_the_table_says() {
    let mut expect = "# Every parameter of pixio_node with its default. Copy what you change; use it with\n\
                      # pixio_node --ros-args --params-file FILE\n/**:\n  ros__parameters:\n"
        .to_owned();
    let mut group = "";
    for parameter in parameters::all() {
        if group != parameter.group {
            group = parameter.group;
            expect += &format!("    # ---- {group} ----\n\n");
        }
        expect += &format!("{}\n", documented(parameter));
    }
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/pixio.yaml")).unwrap();
    assert!(file.trim_end() == expect.trim_end(), "config/pixio.yaml should read\n{expect}");
}

#[test]
fn the_documented_file_is_a_parameter_file_with_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/pixio.yaml");
    let (mut from_file, mut warnings) = (settings(&[("model", string("m"))]), Vec::new());
    files::read(path.as_ref(), "/pixio_node", &mut from_file, &mut warnings).unwrap();
    assert_eq!(warnings, [""; 0]);
    for parameter in parameters::all().filter(|parameter| parameter.default.is_some()) {
        assert!(from_file.get(parameter.name).is_some(), "{} is missing", parameter.name);
    }
    let defaults = configured(&settings(&[("model", string("m"))])).unwrap();
    assert_eq!(configured(&from_file).unwrap(), defaults);
}

#[test]
fn the_documentation_lists_every_parameter() {
    let mut expect = "| parameter | default | valid | |\n|---|---|---|---|\n".to_owned();
    for parameter in parameters::all() {
        let Parameter { name, doc, .. } = parameter;
        let default = match parameter.default {
            None => "required".into(),
            Some("") => "none".into(),
            Some(default) => format!("`{default}`"),
        };
        let changes = if parameter.at_run_time { " Changes at run time." } else { "" };
        let own = if parameter.per_camera { " Each camera may have its own." } else { "" };
        expect += &format!("| `{name}` | {default} | {} | {doc}{changes}{own} |\n", parameter.valid());
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/parameters.md")).unwrap();
    assert!(page.contains(&expect), "docs/parameters.md should hold\n{expect}");
}
