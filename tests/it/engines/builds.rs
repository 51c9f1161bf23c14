//! Builds that are cut short, stopped, or that fail.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pixio_node::engine::arithmetic::Arithmetic;
use pixio_node::engine::builder::{BuildError, Stop, build};
use pixio_node::engine::store::folder::Folder;

use super::{PATIENCE, SIZES, engine, job, plan, root, script};

/// A compiler that has `engine`'s packages at hand.
fn compiled_before(engine: &Folder) -> PathBuf {
    let said = engine.manifest.packages.iter().map(|package| {
        let mut package = serde_json::to_value(package).unwrap();
        for noted_later in ["sha256", "parity", "times"] {
            package.as_object_mut().unwrap().remove(noted_later);
        }
        format!("echo '{}'", serde_json::json!({ "package": package }))
    });
    let from = engine.path().display();
    let said = said.collect::<Vec<_>>().join("\n");
    script(
        "compiled-before",
        &format!("echo '{{\"torch\": \"2.11.0\"}}'\ncp {from}/*.pt2 \"$(dirname \"$2\")/..\"\n{said}"),
    )
}

#[test]
fn a_build_whose_budget_is_spent_ends_with_what_it_has() {
    let Some(engine) = engine() else { return };
    let mut plan = plan(job("random:tiny", Arithmetic::Float32, &SIZES), root().join("early").join("engine"));
    plan.python = Some(compiled_before(engine));
    for (budget, batches) in [(PATIENCE, &[1, 4][..]), (Duration::ZERO, &[1])] {
        plan.budget = budget;
        let mut told = Vec::new();
        let built = build(&plan, &Stop::default(), &mut |text| told.push(text.to_owned())).unwrap();
        for package in &built.folder.manifest.packages {
            let found: [Vec<i64>; 2] = [
                package.parity.iter().map(|parity| parity.batch).collect(),
                package.times.iter().map(|times| times.batch).collect(),
            ];
            assert_eq!(found, [batches, batches], "{told:?}");
            // Three rounds tell which is faster; a hundred are the most.
            let most = if budget.is_zero() { 3 } else { 100 };
            assert!(
                package.times.iter().all(|times| (1..=most).contains(&times.n_rounds)),
                "{:?}",
                package.times
            );
        }
        let hears = |text: &str| told.iter().any(|line| line.contains(text));
        assert!(hears("backbone-96x64.pt2, batch of 1: proving it against the eager model"), "{told:?}");
        assert!(hears("backbone-96x64.pt2, batch of 1: compiled ") && hears(" ms, eager "), "{told:?}");
        let early = "backbone-256x256.pt2: batches of 4 were not tried: the 0 s for proving are over";
        assert_eq!(hears(early), budget.is_zero(), "{told:?}");
    }
}

#[test]
fn a_build_can_be_stopped_between_two_runs() {
    let Some(engine) = engine() else { return };
    for moment in ["batch of 1: proving", "batch of 1: compiled ", "batch of 4: proving"] {
        let out = root().join("stopped").join("engine");
        let mut plan = plan(job("random:tiny", Arithmetic::Float32, &SIZES), out.clone());
        plan.python = Some(compiled_before(engine));
        let stop = Stop::default();
        let mut after = Vec::new();
        let built = build(&plan, &stop, &mut |text| {
            if stop.is_stopped() {
                after.push(text.to_owned());
            }
            if text.contains(moment) {
                stop.stop();
            }
        });
        assert!(matches!(built.map(|built| built.folder), Err(BuildError::Stopped)), "{moment}");
        assert!(after.is_empty(), "{moment}: {after:?}");
        assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 0, "{moment}");
    }
}

#[test]
fn what_is_no_build_leaves_nothing() {
    if engine().is_none() {
        return;
    }
    let check = |python: PathBuf, stop: &Stop, expect: &str| {
        let out = root().join("none").join("engine");
        let mut plan = plan(job("random:tiny", Arithmetic::Float32, &SIZES[..1]), out.clone());
        plan.python = Some(python);
        let built = build(&plan, stop, &mut |_| ()).map(|built| built.folder);
        let err = built.expect_err("nothing can be built");
        assert!(err.to_string().contains(expect), "{expect:?} is not in: {err}");
        assert_eq!(fs::read_dir(root().join("none")).unwrap().count(), 0, "{err}");
        err
    };
    let way_out = "run scripts/setup --engines, or give --python";
    check("/nowhere/python3".into(), &Stop::default(), way_out);
    check(
        script("bare", "echo 'ModuleNotFoundError: x' >&2; exit 1"),
        &Stop::default(),
        "ModuleNotFoundError: x",
    );
    let old = script("old", "echo '{\"torch\": \"2.10.0\"}'");
    check(old, &Stop::default(), "has torch 2.10.0, this node runs 2.11.0");
    let useless = script("useless", "echo '{\"torch\": \"2.11.0\"}'; echo '{\"error\": \"no compiler\"}'");
    check(useless, &Stop::default(), "the engine cannot be compiled: no compiler");
    let stop = Stop::default();
    stop.stop();
    let err = check(script("slow", "cat >/dev/null"), &stop, "the build was stopped");
    assert!(matches!(err, BuildError::Stopped));
}
