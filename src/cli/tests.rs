//! Command lines as they are typed, and what they come to.

use super::*;
use crate::config::Values;

fn parsed(line: &str) -> Result<Invocation, UsageError> {
    let args = format!("pixio_node {line}");
    parse(args.split_whitespace().map(str::to_owned), &|_| None)
}

/// Every parameter given, in the order of the table, with where it came from.
fn told(invocation: &Invocation) -> String {
    let given = parameters::all().filter_map(|parameter| {
        invocation.settings.get(parameter.name).map(|(value, _)| format!("{}={value}", parameter.name))
    });
    given.chain(invocation.warnings.iter().cloned()).collect::<Vec<_>>().join(" ")
}

fn check(line: &str, expect: &str) {
    let answer = parsed(line).map_or_else(|err| err.to_string(), |invocation| told(&invocation));
    assert_eq!(answer, expect, "{line}");
}

/// Compares the first line of what a refused command line is told.
fn check_refused(line: &str, expect: &str) {
    let answer = parsed(line).map_or_else(|err| err.to_string(), |invocation| told(&invocation));
    assert_eq!(answer.lines().next().unwrap_or_default(), expect, "{line}");
}

fn check_command(line: &str, expect: Command) {
    assert_eq!(parsed(line).unwrap().command, expect, "{line}");
}

#[test]
fn run_is_the_command_when_none_is_named() {
    check_command("", Command::Run);
    check_command("--model random:tiny", Command::Run);
    check_command("run --model random:tiny", Command::Run);
    check_command("--ros-args -r a:=b", Command::Run);
    check_command("check --ros-args -r a:=b", Command::Check);
    check_command("--ros-args -r a:=b -- check", Command::Check);
}

#[test]
fn commands_take_what_is_theirs() {
    let infer = |layers| Command::Infer {
        images: ["a.png", "b.png", "c.png"].map(PathBuf::from).to_vec(),
        out: "o".into(),
        layers,
        taught: None,
    };
    check_command("infer --model m --image a.png b.png --out o --image c.png", infer(false));
    check_command("infer --image a.png b.png c.png --layers --out o --ros-args -p model:=m", infer(true));
    let taught = Some(Taught { exemplars: "c.csv".into(), save_head: Some("h.safetensors".into()) });
    check_command(
        "infer --image a.png b.png c.png --out o --exemplars c.csv --save-head h.safetensors",
        match infer(false) {
            Command::Infer { images, out, layers, .. } => Command::Infer { images, out, layers, taught },
            other => other,
        },
    );
    let bench = |n_frames, json: Option<&str>, width, height| Command::Bench {
        engines: vec!["auto".into()],
        batch: 1,
        n_frames,
        json: json.map(PathBuf::from),
        image: Images::Synthetic(Size { width, height }),
    };
    check_command("bench", bench(200, None, 1280, 720));
    check_command("bench --frames 5 --json f.json --image 640x480", bench(5, Some("f.json"), 640, 480));
    check_refused(
        "bench --frames 0",
        "error: invalid value '0' for '--frames <N>': valid is a whole number from 1",
    );
    check_refused(
        "bench --image 640x",
        "error: invalid value '640x' for '--image <WIDTHxHEIGHT|FILE>': \
         valid is WIDTHxHEIGHT in pixels, or a JPEG or PNG file",
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("room.jpg");
    std::fs::write(&file, "").unwrap();
    let line = format!("bench --image {}", file.display());
    let image = match parsed(&line).unwrap().command {
        Command::Bench { image, .. } => image,
        other => panic!("{other:?}"),
    };
    assert_eq!(image, Images::File(file));
    check_refused("infer --image a --out o --max-rate 3", "error: unexpected argument '--max-rate' found");
    check_refused("infer --image a", "error: the following required arguments were not provided:");
    check_refused("check --layers", "error: unexpected argument '--layers' found");
    check_refused("--sise 16x16", "error: unexpected argument '--sise' found");
}

#[test]
fn build_and_bench_take_lists() {
    let build = |sizes: &[(u32, u32)], batches: &[i64], layers: &[usize], out: Option<&str>| Command::Build {
        sizes: sizes.iter().map(|&(width, height)| Size { width, height }).collect(),
        batches: batches.to_vec(),
        layers: layers.to_vec(),
        out: out.map(PathBuf::from),
        python: None,
        int8_kernel: None,
        max_autotune: false,
        target: None,
    };
    let kernel = |line: &str| match parsed(line).unwrap().command {
        Command::Build { int8_kernel, .. } => int8_kernel,
        other => panic!("{other:?}"),
    };
    assert_eq!(kernel("build --model m --int8-kernel auto"), None);
    for known in Kernel::ALL {
        assert_eq!(kernel(&format!("build --model m --int8-kernel {known}")), Some(known));
    }
    check_refused(
        "build --model m --int8-kernel vnni",
        "error: invalid value 'vnni' for '--int8-kernel <KERNEL>'",
    );
    let autotunes = |line: &str| match parsed(line).unwrap().command {
        Command::Build { max_autotune, .. } => max_autotune,
        other => panic!("{other:?}"),
    };
    assert!(autotunes("build --model m --max-autotune") && !autotunes("build --model m"));
    let target = |line: &str| match parsed(line).unwrap().command {
        Command::Build { target, .. } => target,
        other => panic!("{other:?}"),
    };
    assert_eq!(target("build --model m --for sm_90"), Some(Target::Sm90));
    assert_eq!(target("build --model m --for 8.6"), Some(Target::Sm86));
    check_refused(
        "build --model m --for sm_70",
        "error: invalid value 'sm_70' for '--for <GPU>': valid are sm_80, sm_86, sm_89, sm_90, sm_120, or \
         9.0 for sm_90",
    );
    check_command("build --model m", build(&[], &[1, 2, 4, 8], &[], None));
    check_command(
        "build --model m --size 256x256 --size 336x192 --batch 4,1,4 --layers 12,6 --out e",
        build(&[(256, 256), (336, 192)], &[1, 4], &[6, 12], Some("e")),
    );
    for wrong in ["--batch 0", "--batch 65", "--batch 1,,2", "--batch x", "--layers 0"] {
        let refused = parsed(&format!("build --model m {wrong}")).unwrap_err().to_string();
        assert!(refused.contains("valid are whole numbers"), "{wrong}: {refused}");
    }
    check_refused("build --engine eager", "error: unexpected argument '--engine' found");
    let engines = |line| match parsed(line).unwrap().command {
        Command::Bench { engines, batch, .. } => format!("{engines:?} {batch}"),
        other => format!("{other:?}"),
    };
    assert_eq!(engines("bench --engine eager,/e --batch 4"), r#"["eager", "/e"] 4"#);
    assert_eq!(engines("bench --engine eager --engine auto"), r#"["auto"] 1"#);
}

#[test]
fn every_parameter_is_an_option_of_its_type() {
    check("--model 7 --threads 2 --max-rate 2.5", "model=\"7\" threads=2 max_rate=2.5");
    check("--max-rate=5 --layer 3 --use-sim-time true", "layer=3 max_rate=5.0 use_sim_time=true");
    check("--layer last --threads many", "threads=\"many\" layer=\"last\"");
    check("--threads -1", "threads=-1");
    for parameter in parameters::all() {
        let line = format!("{} x", option(parameter));
        assert!(parsed(&line).unwrap().settings.get(parameter.name).is_some(), "{line}");
    }
}

#[test]
fn the_last_one_given_wins_whichever_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.yaml");
    std::fs::write(&path, "/**: {ros__parameters: {fit: crop}}").unwrap();
    let file = path.display();
    check("--fit auto --fit letterbox", "fit=\"letterbox\"");
    check("--fit auto --ros-args -p fit:=letterbox", "fit=\"letterbox\"");
    check("--ros-args -p fit:=letterbox -- --fit=auto", "fit=\"auto\"");
    check("--ros-args -p fit:=letterbox -p fit:=auto", "fit=\"auto\"");
    check(&format!("--ros-args -p fit:=auto --params-file {file}"), "fit=\"crop\"");
    check(&format!("--ros-args --params-file {file} -p fit:=auto"), "fit=\"auto\"");
    check(
        &format!("--ros-args --params-file {file} -- --fit auto --size 16x16"),
        "size=\"16x16\" fit=\"auto\"",
    );
    check(&format!("--fit=auto --size=16x16 --ros-args --params-file {file}"), "size=\"16x16\" fit=\"crop\"");
}

#[test]
fn log_levels_follow_the_loggers() {
    check("--ros-args --log-level debug", "log_level=\"debug\"");
    check("--ros-args --log-level pixio_node:=debug --log-level warn", "log_level=\"debug\"");
    check("--ros-args --log-level rcl:=debug", "");
    check("--ros-args -r __ns:=/robot --log-level robot:=error", "log_level=\"error\"");
    check("--ros-args -r __ns:=/robot --log-level rob:=error", "");
    check("--log-level warn --ros-args --log-level error", "log_level=\"error\"");
}

#[test]
fn parameters_for_other_nodes_are_passed_over() {
    check("--ros-args -p other:threads:=2 -p pixio_node:layer:=3", "layer=3");
    check(
        "--ros-args -r __ns:=/a -r __node:=b -p b:threads:=2 -p /a/b:layer:=3 -p /c/b:layer:=4",
        "threads=2 layer=3",
    );
    check("--ros-args -p pixio_node:thread:=2 -r __node:=b", "");
}

#[test]
fn mistakes_are_told_with_who_made_them() {
    check(
        "--ros-args -p modle:=x",
        "-p modle:=x: there is no parameter `modle`; the nearest valid name is `model`",
    );
    check("--ros-args -p size:=", "-p size:=: `size`: there is no value; an empty string is ''");
    check("--ros-args -p qos_overrides./image.depth:=3 -p use_sim_time:=true", "use_sim_time=true");
    check(
        "image:=/camera",
        "image:=/camera is a ROS argument: it belongs after --ros-args and a flag such as -r or -p",
    );
    check("--ros-args -r image", "in --ros-args: -r image: the form is [NODE:]FROM:=TO");
    check("--ros-args -r __ns:=robot", "`robot` is not a valid namespace: it must begin with `/`");
    check(
        "--ros-args --params-file /nowhere.yaml",
        "cannot read the parameter file /nowhere.yaml: No such file or directory (os error 2)",
    );
    let bad_domain =
        parse(["pixio_node".to_owned()].into_iter(), &|name| (name == "ROS_DOMAIN_ID").then(|| "x".into()));
    assert!(bad_domain.unwrap_err().to_string().contains("ROS_DOMAIN_ID=x"));
}

#[test]
fn an_option_of_the_wrong_type_names_the_option() {
    let invocation = parsed("--model m --reduced-channels 65").unwrap();
    let answer = Values::new(&invocation.settings).unwrap_err().to_string();
    let expect = "--reduced-channels: `reduced_channels` cannot be 65 (integer): valid is a whole number \
                  from 1 to 64 channels";
    assert_eq!(answer, expect);
}

#[test]
fn names_come_from_the_remap_rules() {
    let names = parsed("--ros-args -r __ns:=/robot -r image:=/cam").unwrap().names;
    assert_eq!(names.fully_qualified(), "/robot/pixio_node");
    assert_eq!(names.resolve("image"), Ok("/cam".into()));
}

#[test]
fn help_names_every_command_and_parameter() {
    program().debug_assert();
    let help = parsed("--help").unwrap_err().to_string();
    for word in COMMANDS {
        assert!(help.contains(&format!("\n  {word} ")), "{word} is missing in\n{help}");
    }
    for parameter in parameters::all() {
        assert!(help.contains(&option(parameter)), "{} is missing in\n{help}", parameter.name);
    }
    assert!(!help.contains(ROS));
    let version = parsed("--version").unwrap_err().to_string();
    assert_eq!(version.trim_end(), concat!("pixio_node ", env!("CARGO_PKG_VERSION")));
}
