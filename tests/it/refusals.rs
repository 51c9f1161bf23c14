//! What a model folder that is not right is answered with.

use std::fs;
use std::path::Path;

use pixio_node::engine::eager::Eager;
use pixio_node::pixio::{Pixio, Source};
use tch::{Device, Kind, Tensor};

const CONFIG: &str = r#"{"model_type": "pixio", "hidden_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "image_size": 32, "n_cls_tokens": 1}"#;

/// The tensors of a model of CONFIG, all 0.5.
fn tensors() -> Vec<(String, Tensor)> {
    let mut shapes: Vec<(String, Vec<i64>)> = vec![
        ("embeddings.cls_token".into(), vec![1, 1, 32]),
        ("embeddings.position_embeddings".into(), vec![1, 5, 32]),
        ("embeddings.patch_embeddings.projection.weight".into(), vec![32, 3, 16, 16]),
        ("embeddings.patch_embeddings.projection.bias".into(), vec![32]),
    ];
    let linear = [("attention.q_proj", 32, 32), ("attention.k_proj", 32, 32), ("attention.v_proj", 32, 32)];
    let linear =
        linear.into_iter().chain([("attention.o_proj", 32, 32), ("mlp.fc1", 128, 32), ("mlp.fc2", 32, 128)]);
    for (name, outputs, inputs) in linear {
        shapes.push((format!("layers.0.{name}.weight"), vec![outputs, inputs]));
        shapes.push((format!("layers.0.{name}.bias"), vec![outputs]));
    }
    for name in ["layers.0.layernorm_before", "layers.0.layernorm_after", "layernorm"] {
        shapes.push((format!("{name}.weight"), vec![32]));
        shapes.push((format!("{name}.bias"), vec![32]));
    }
    let filled = |shape: Vec<i64>| Tensor::full(shape, 0.5, (Kind::Float, Device::Cpu));
    shapes.into_iter().map(|(name, shape)| (name, filled(shape))).collect()
}

fn write(folder: &Path, tensors: &[(String, Tensor)]) {
    fs::write(folder.join("config.json"), CONFIG).unwrap();
    Tensor::write_safetensors(tensors, folder.join("model.safetensors")).unwrap();
}

fn load(folder: &Path, kind: Kind) -> Result<Pixio, String> {
    let source = Source::resolve(folder.to_str().unwrap()).map_err(|err| err.to_string())?;
    Pixio::load(&source, Device::Cpu, kind).map_err(|err| err.to_string())
}

/// Spoils a good folder and looks for all of `expect` in the answer.
fn check(spoil: impl Fn(&Path), expect: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &tensors());
    load(folder.path(), Kind::Float).expect("the folder is good before it is spoilt");
    spoil(folder.path());
    let said = load(folder.path(), Kind::Float).map_or_else(|said| said, |_| "loaded".into());
    assert!(!said.contains('\n'), "more than one line: {said}");
    for part in expect {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

/// The same with one tensor replaced or, by `None`, left out.
fn check_tensor(name: &str, value: Option<Tensor>, expect: &[&str]) {
    let spoil = |folder: &Path| {
        let mut tensors = tensors();
        tensors.retain(|(other, _)| other != name);
        tensors.extend(value.as_ref().map(|value| (name.to_owned(), value.shallow_clone())));
        write(folder, &tensors);
    };
    check(spoil, &[&["model.safetensors", name], expect].concat());
}

fn full(shape: &[i64], value: f64) -> Option<Tensor> {
    Some(Tensor::full(shape, value, (Kind::Float, Device::Cpu)))
}

#[test]
fn files_that_are_missing_or_broken_are_named() {
    let remove = |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name)).unwrap();
    check(remove("config.json"), &["cannot read", "config.json", "No such file"]);
    check(remove("model.safetensors"), &["has neither model.safetensors nor model.safetensors.index.json"]);
    let pickle =
        |folder: &Path| fs::rename(folder.join("model.safetensors"), folder.join("pixio.pth")).unwrap();
    check(pickle, &["pixio.pth is a pickle", "`.venv/bin/pixio-convert-checkpoint /", "/pixio.pth /"]);
    let cut = |length: u64| {
        move |folder: &Path| {
            let file = fs::File::options().write(true).open(folder.join("model.safetensors")).unwrap();
            file.set_len(length).unwrap();
        }
    };
    check(cut(100_000), &["model.safetensors: cut short: 100000 bytes, by its header"]);
    check(cut(100), &["cut short: 100 bytes, the header alone ends at"]);
    check(cut(4), &["only 4 bytes long"]);
    let text =
        |text: &'static str| move |folder: &Path| fs::write(folder.join("model.safetensors"), text).unwrap();
    check(text("version https://git-lfs.github.com/spec/v1"), &["a Git LFS pointer", "git lfs pull"]);
    check(text("\x02\0\0\0\0\0\0\0{]"), &["not a safetensors file: header"]);
    check(text("\x02\0\0\0\0\0\0\0{}"), &["no Pixio encoder in it"]);
    let config =
        |json: &'static str| move |folder: &Path| fs::write(folder.join("config.json"), json).unwrap();
    check(config(r#"{"hidden_act": "silu"}"#), &["config.json: hidden_act is \"silu\", but only \"gelu\""]);
}

#[test]
fn an_encoder_within_something_else_is_the_same_encoder() {
    let features = |folder: &Path| {
        let pixio = load(folder, Kind::Float).unwrap();
        let images = Tensor::full([1, 32, 32, 3], 90, (Kind::Uint8, Device::Cpu));
        pixio.encode(&images, &[1]).unwrap().remove(0)
    };
    let plain = tempfile::tempdir().unwrap();
    write(plain.path(), &tensors());
    let expect = features(plain.path());
    for wrapper in ["model.", "module.", "backbone.", "module.backbone."] {
        let wrapped = tempfile::tempdir().unwrap();
        let named = tensors().into_iter().map(|(name, tensor)| (format!("{wrapper}{name}"), tensor));
        let head = ("head.weight".to_owned(), Tensor::zeros([3], (Kind::Float, Device::Cpu)));
        write(wrapped.path(), &named.chain([head]).collect::<Vec<_>>());
        assert!(features(wrapped.path()).equal(&expect), "{wrapper}");
    }
}

#[test]
fn what_the_processor_says_of_values_is_done_to_them() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &tensors());
    let plain = load(folder.path(), Kind::Float).unwrap();
    let processor =
        r#"{"image_mean": [0.5, 0.25, 0.75], "image_std": [0.5, 0.25, 0.125], "rescale_factor": 0.01}"#;
    fs::write(folder.path().join("preprocessor_config.json"), processor).unwrap();
    let other = load(folder.path(), Kind::Float).unwrap();
    assert_ne!(plain.revision(), other.revision());
    let bytes = Tensor::from_slice(&(0..32 * 32 * 3).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let images = bytes.reshape([1, 32, 32, 3]);
    let (mean, deviation) =
        (Tensor::from_slice(&[0.5_f32, 0.25, 0.75]), Tensor::from_slice(&[0.5_f32, 0.25, 0.125]));
    let values = ((images.to_kind(Kind::Float) * 0.01 - mean) / deviation).permute([0, 3, 1, 2]);
    let expect = other.forward(&values).unwrap().hidden_states.remove(0);
    let found = other.encode(&images, &[0]).unwrap().remove(0);
    assert!(found.allclose(&expect, 1e-4, 1e-4, false), "{found:?}");
    assert!(!plain.encode(&images, &[0]).unwrap()[0].allclose(&expect, 1e-2, 1e-2, false));
    check(
        |folder| fs::write(folder.join("preprocessor_config.json"), r#"{"image_std": 0}"#).unwrap(),
        &["preprocessor_config.json: image_std is [0.0, 0.0, 0.0], it must be positive"],
    );
}

#[test]
fn tensors_that_do_not_fit_are_named_with_both_shapes() {
    check_tensor("layers.0.mlp.fc2.weight", None, &["is missing (expected [32, 128])"]);
    check_tensor("layers.0.attention.k_proj.weight", None, &["is missing (expected [32, 32])"]);
    check_tensor("layers.0.mlp.fc1.bias", full(&[64], 0.5), &["is [64], expected [128]"]);
    let integers = Some(Tensor::zeros([32], (Kind::Int64, Device::Cpu)));
    check_tensor("layernorm.weight", integers, &["is I64, expected F32, BF16, F16 or F64"]);
    let wider = |folder: &Path| fs::write(folder.join("config.json"), CONFIG.replace("32,", "64,")).unwrap();
    check(wider, &["tensor embeddings.", "32", "64"]);
}

#[test]
fn tensors_that_are_not_finite_are_named() {
    check_tensor("embeddings.cls_token", full(&[1, 1, 32], f64::NAN), &["not finite in Float"]);
    check_tensor("layers.0.attention.v_proj.bias", full(&[32], f64::INFINITY), &["not finite in Float"]);
    let folder = tempfile::tempdir().unwrap();
    let mut large = tensors();
    large.retain(|(name, _)| name != "layernorm.bias");
    large.push(("layernorm.bias".into(), full(&[32], 1e5).unwrap()));
    write(folder.path(), &large);
    assert!(load(folder.path(), Kind::BFloat16).is_ok());
    let said = load(folder.path(), Kind::Half).unwrap_err();
    assert!(said.contains("layernorm.bias has values that are not finite in Half"), "{said}");
}

#[test]
fn shards_that_an_index_names_wrongly_are_refused() {
    let shard = |folder: &Path, file: &str| {
        fs::rename(folder.join("model.safetensors"), folder.join("part.safetensors")).unwrap();
        let index = format!(r#"{{"weight_map": {{"layernorm.weight": "{file}"}}}}"#);
        fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
    };
    check(|folder| shard(folder, "part.safetensors"), &["loaded"]);
    check(|folder| shard(folder, "other.safetensors"), &["cannot read", "other.safetensors", "No such file"]);
    check(
        |folder| shard(folder, "../part.safetensors"),
        &["index.json: \"../part.safetensors\" is not the name"],
    );
    let broken = |folder: &Path| {
        shard(folder, "part.safetensors");
        fs::write(folder.join("model.safetensors.index.json"), "{}").unwrap();
    };
    check(broken, &["model.safetensors.index.json: missing field `weight_map`"]);
}

#[test]
fn inputs_that_do_not_fit_are_refused_and_the_next_good_one_is_served() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &tensors());
    let pixio = load(folder.path(), Kind::Float).unwrap();
    let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, Device::Cpu));
    let check = |shape: &[i64], kind, blocks: &[usize], expect: &str| {
        let said =
            pixio.encode(&zeros(shape, kind), blocks).map_or_else(|err| err.to_string(), |_| "served".into());
        assert!(said.contains(expect), "{said}");
    };
    check(&[1, 40, 32, 3], Kind::Uint8, &[1], "input is Uint8 [1, 40, 32, 3], expected Uint8 [B, H, W, 3]");
    check(&[1, 32, 32, 3], Kind::Float, &[1], "input is Float [1, 32, 32, 3]");
    check(&[0, 32, 32, 3], Kind::Uint8, &[1], "input is Uint8 [0, 32, 32, 3]");
    check(&[1, 0, 32, 3], Kind::Uint8, &[1], "input is Uint8 [1, 0, 32, 3]");
    check(&[32, 32, 3], Kind::Uint8, &[1], "input is Uint8 [32, 32, 3]");
    check(&[1, 32, 32, 3], Kind::Uint8, &[0, 2], "blocks [0, 2] were asked for, the model has 1");
    check(&[2, 16, 48, 3], Kind::Uint8, &[1, 0], "served");
    let floats = pixio.forward(&zeros(&[1, 3, 30, 32], Kind::Float)).unwrap_err().to_string();
    assert!(floats.contains("expected floats [B, 3, H, W], H and W divisible by 16"), "{floats}");
    let said = Eager::new(pixio, &[0, 1]).unwrap_err().to_string();
    assert!(said.contains("at least one, counted from 1, ascending"), "{said}");
}

#[test]
fn the_random_model_is_the_same_every_time_and_sees_the_image() {
    let load = || Pixio::load(&Source::resolve("random:tiny").unwrap(), Device::Cpu, Kind::Float).unwrap();
    let (first, second) = (load(), load());
    assert_eq!((first.name(), first.revision()), ("random:tiny", second.revision()));
    let image = |value: f64| Tensor::full([1, 64, 32, 3], value, (Kind::Uint8, Device::Cpu));
    let run = |pixio: &Pixio, value| pixio.normalize(&pixio.encode(&image(value), &[4]).unwrap()[0]).unwrap();
    let (dark, bright) = (run(&first, 20.0), run(&first, 200.0));
    assert!(dark.equal(&run(&second, 20.0)));
    assert_eq!(dark.size(), [1, 8 + 8, 192]);
    assert!((dark - bright).abs().max().double_value(&[]) > 0.1);
}
