//! `infer`: the same stages on picture files, into files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use tch::{Kind, Tensor};

use crate::commands::Failure;
use crate::commands::model::{self, Model};
use crate::config::Config;
use crate::engine::Tokens;
use crate::geometry::Size;
use crate::pca::{Basis, Estimator};
use crate::pixio::Pixio;
use crate::runtime::pool::Pool;
use crate::runtime::tensor;
use crate::stages::camera::{Frame, Header, Picture};
use crate::stages::fit::Fitter;
use crate::stages::forward::{Input, forward};
use crate::stages::heads;
use crate::stages::publish::png;

/// What `infer` reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// JPEG or PNG files.
    pub images: Vec<PathBuf>,
    /// Folder for `NAME.safetensors` and `NAME.pca.png`; made when missing.
    pub out: PathBuf,
    /// Also write `hidden_states.K`.
    pub layers: bool,
}

/// One picture's tokens, on the CPU in float32.
struct Encoded {
    name: String,
    size: Size,
    grid: Size,
    image_from_grid: [f64; 6],
    /// `[grid.height, grid.width, D]`, after the final norm.
    patch_tokens: Tensor,
    /// `[n_cls, D]`, after the final norm.
    class_tokens: Tensor,
    /// `[n_cls + P, D]` each, before the final norm; empty unless asked for.
    hidden_states: Vec<Tensor>,
}

/// Runs every picture and writes its files; a picture that cannot be read costs no other.
///
/// # Errors
/// Setup errors, and at the end one that names the pictures that failed.
pub fn infer(config: &Config, options: &Options) -> Result<(), Failure> {
    names(&options.images).map_err(Failure::Setup)?;
    let mut model = Model::load(config).map_err(Failure::Setup)?;
    let made = std::fs::create_dir_all(&options.out);
    made.with_context(|| format!("cannot make the folder {} for --out", options.out.display()))
        .map_err(Failure::Setup)?;

    let mut fitter = model::fitter(config);
    let (mut estimator, mut results, mut failed) = (Estimator::default(), Vec::new(), Vec::new());
    for path in &options.images {
        let started = Instant::now();
        match encode(&mut model, &mut fitter, path, options.layers, &mut estimator) {
            Ok(mut found) => {
                let path = options.out.join(format!("{}.safetensors", found.name));
                found.save(&path, &model).map_err(Failure::Running)?;
                // They are large, and only what the PCA picture needs is kept until the end.
                found.hidden_states.clear();
                let (Size { width, height }, grid) = (found.size, found.grid);
                let channels = model.pixio().config().hidden_size;
                println!(
                    "{}: {width}x{height} -> {}x{} patches of {channels}, {:.0} ms",
                    path.display(),
                    grid.width,
                    grid.height,
                    started.elapsed().as_secs_f64() * 1e3
                );
                results.push(found);
            }
            Err(err) => {
                tracing::error!("{}: {err:#}", path.display());
                failed.push(path.display().to_string());
            }
        }
    }
    let basis = match model.basis.take() {
        Some(basis) => Some(basis),
        None => estimator.finish().map_err(Failure::Running)?,
    };
    match basis {
        Some(basis) => results.iter().try_for_each(|found| found.save_colors(&options.out, &basis)),
        None => {
            tracing::warn!("no PCA pictures: no picture has enough texture to estimate a basis");
            Ok(())
        }
    }
    .map_err(Failure::Running)?;
    let n = (failed.len(), options.images.len());
    let text = format!("{} of {} pictures failed: {}", n.0, n.1, failed.join(", "));
    if failed.is_empty() { Ok(()) } else { Err(Failure::Running(anyhow::anyhow!(text))) }
}

/// Checks that no two pictures would write the same files.
fn names(images: &[PathBuf]) -> anyhow::Result<()> {
    let mut seen = BTreeMap::new();
    for path in images {
        let name = stem(path)?;
        if let Some(other) = seen.insert(name.clone(), path) {
            let (one, two) = (other.display(), path.display());
            bail!("{one} and {two} would both become {name}.safetensors: rename one or run twice");
        }
    }
    Ok(())
}

fn stem(path: &Path) -> anyhow::Result<String> {
    let Some(stem) = path.file_stem() else { bail!("{} has no file name", path.display()) };
    Ok(stem.to_string_lossy().into_owned())
}

fn encode(
    model: &mut Model,
    fitter: &mut Fitter,
    path: &Path,
    layers: bool,
    estimator: &mut Estimator,
) -> anyhow::Result<Encoded> {
    let bytes = std::fs::read(path).context("cannot read the file")?;
    let frame = Frame {
        header: Header::default(),
        camera: 0,
        received: Instant::now(),
        picture: Picture::Compressed(bytes.into()),
        intrinsics: None,
    };
    let mut pixels = Pool::default().lease();
    let geometry = fitter.fit(&frame, &mut pixels)?;
    let input = Input::new(frame, pixels, geometry);
    let Tokens { taps } = forward(&mut *model.engine, &input, usize::MAX)?;
    let (Some(tap), Some(last)) = (taps.first(), taps.last()) else { bail!("the engine returned no tokens") };
    let (grid, n_cls) = (input.geometry.grid(), model.card.n_cls_tokens as i64);
    let n_patches = i64::from(grid.width) * i64::from(grid.height);
    let patches = tensor::single(&tap.f_get(0)?.f_narrow(0, n_cls, n_patches)?)?;
    estimator.add(&patches, &input.pixels)?;
    Ok(Encoded {
        name: stem(path)?,
        size: input.geometry.camera,
        grid,
        image_from_grid: input.geometry.camera_from_grid(),
        patch_tokens: patches.f_reshape([i64::from(grid.height), i64::from(grid.width), -1])?,
        class_tokens: tensor::single(&last.f_get(0)?.f_narrow(0, 0, n_cls)?)?,
        hidden_states: if layers { hidden_states(model.pixio(), &input)? } else { Vec::new() },
    })
}

fn hidden_states(pixio: &Pixio, input: &Input) -> anyhow::Result<Vec<Tensor>> {
    let blocks: Vec<usize> = (0..=pixio.config().num_hidden_layers).collect();
    let states = pixio.encode(&input.images()?, &blocks)?;
    states.iter().map(|state| Ok(tensor::single(&state.f_get(0)?)?)).collect()
}

impl Encoded {
    fn save(&self, path: &Path, model: &Model) -> anyhow::Result<()> {
        let pooled = self.class_tokens.f_mean_dim(&[0i64][..], false, Kind::Float)?;
        let mut tensors = vec![
            ("patch_tokens".to_owned(), &self.patch_tokens),
            ("class_tokens".to_owned(), &self.class_tokens),
            ("pooled".to_owned(), &pooled),
        ];
        let layers = self.hidden_states.iter().enumerate();
        tensors.extend(layers.map(|(k, state)| (format!("hidden_states.{k}"), state)));
        let Size { width, height } = self.size;
        let about: HashMap<String, String> = [
            ("model", model.card.name.clone()),
            ("revision", model.card.revision.clone()),
            ("layer", model.card.layer.to_string()),
            ("image_size", format!("{width}x{height}")),
            ("image_from_grid", serde_json::to_string(&self.image_from_grid)?),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let file = tensor::safetensors(tensors, about)?;
        std::fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))
    }

    fn save_colors(&self, out: &Path, basis: &Basis) -> anyhow::Result<()> {
        let patches = self.patch_tokens.f_flatten(0, 1)?;
        let picture = heads::picture(&basis.colors(&patches)?, self.grid)?;
        let path = out.join(format!("{}.pca.png", self.name));
        std::fs::write(&path, png(&picture)?).with_context(|| format!("cannot write {}", path.display()))
    }
}
