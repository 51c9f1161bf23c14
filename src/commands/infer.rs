//! `infer`: the same stages on image files, into files.

use crate::engine::readback::Readback;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use tch::{Kind, Tensor};

use crate::commands::Failure;
use crate::commands::clicks::{Taught, taught_config};
use crate::commands::signals::Signals;
use crate::config::{Config, Fit};
use crate::console::stdout::Stdout;
use crate::encode;
use crate::engine::Tokens;
use crate::files;
use crate::geometry::Size;
use crate::outputs::{Topic, Topics};
use crate::pca::{Basis, Estimator};
use crate::pixio::Pixio;
use crate::runtime::input_pixels::InputPixels;
use crate::runtime::tensor;
use crate::setup::Model;
use crate::setup::input::fitter;
use crate::stages::camera::{CameraImage, Frame, Header};
use crate::stages::derive::{Dense, DepthMap, LabelMap, Maps, pca_image};
use crate::stages::fit::Fitter;
use crate::stages::forward::{Input, forward};
use crate::stages::publish::{depth_png, png};

/// What `infer` reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferOptions {
    /// JPEG or PNG files.
    pub images: Vec<PathBuf>,
    /// Folder for `NAME.safetensors` and the images `NAME.*.png`; made when missing.
    pub out: PathBuf,
    /// Also write `hidden_states.K`.
    pub layers: bool,
    /// What was taught, if images are to be segmented by that.
    pub taught: Option<Taught>,
}

/// Reads image files and runs the model on them.
pub(super) struct Reader {
    fitter: Fitter,
    max_pixels: u64,
}

impl Reader {
    /// The model input and the tokens of an image file.
    ///
    /// # Errors
    /// The file cannot be read, or the model's own.
    pub(super) fn forward(&mut self, model: &mut Model, path: &Path) -> anyhow::Result<(Input, Tokens)> {
        let frame = Frame {
            header: Header::default(),
            camera: 0,
            received: Instant::now(),
            image: CameraImage::Compressed(read(path, self.max_pixels)?.into()),
            intrinsics: None,
        };
        let mut pixels = InputPixels::default();
        let geometry = self.fitter.fit(&frame, &mut pixels)?;
        let input = Input::new(frame, pixels, geometry);
        let tokens = forward(&mut *model.engine, &[&input], usize::MAX)?;
        Ok((input, tokens))
    }
}

/// One image's tokens, on the CPU in float32.
struct ImageTokens {
    name: String,
    size: Size,
    grid: Size,
    image_from_grid: [f64; 6],
    /// `[grid.height, grid.width, D]`, after the final norm; empty where the model has seen windows, here and
    /// below.
    patch_tokens: Option<Tensor>,
    /// `[n_cls, D]`, after the final norm.
    class_tokens: Option<Tensor>,
    /// `[n_cls + P, D]` each, before the final norm; empty unless asked for.
    hidden_states: Vec<Tensor>,
    depth: Option<DepthMap>,
    labels: Option<LabelMap>,
}

/// Runs every image and writes its files; an image that cannot be read costs no other.
///
/// # Errors
/// Setup errors, and at the end one that names the images that failed.
pub fn infer(config: &Config, options: &InferOptions, signals: Signals) -> Result<(), Failure> {
    let _listener = signals.end_at_once()?;
    // The files are what was asked for: they are written whether anybody reads the lines or not.
    let mut out = Stdout::default();
    names(&options.images).map_err(Failure::Setup)?;
    let taught = options.taught.as_ref();
    let config = &match taught {
        Some(_) => taught_config(config).map_err(Failure::Setup)?,
        // Images are not taught.
        None => Config { teaching: false, ..config.clone() },
    };
    let mut model = Model::load(config).map_err(Failure::Setup)?;
    let made = std::fs::create_dir_all(&options.out);
    made.with_context(|| format!("cannot make the folder {} for --out", options.out.display()))
        .map_err(Failure::Setup)?;

    let mut reader = Reader { fitter: fitter(config), max_pixels: config.max_image_pixels };
    let mut dense = model.dense(config).map_err(Failure::Setup)?;
    if let Some(taught) = taught {
        taught.teach(config, &mut model, &mut reader, &mut dense).map_err(Failure::Setup)?;
    }
    let (mut estimator, mut results, mut failed) = (Estimator::default(), Vec::new(), Vec::new());
    for path in &options.images {
        let started = Instant::now();
        match encode(&mut model, &mut dense, &mut reader, path, options.layers, &mut estimator) {
            Ok(mut image) => {
                let path = options.out.join(format!("{}.safetensors", image.name));
                image.save(&path, &model).map_err(Failure::Running)?;
                image.save_dense(&options.out).map_err(Failure::Running)?;
                // They are large, and only what the PCA image needs is kept until the end.
                image.hidden_states.clear();
                (image.depth, image.labels) = (None, None);
                let channels = model.pixio().config().hidden_size;
                out.line(format_args!(
                    "{}: {} -> {} patches of {channels}, {:.0} ms",
                    path.display(),
                    image.size,
                    image.grid,
                    started.elapsed().as_secs_f64() * 1e3
                ));
                results.push(image);
            }
            Err(err) => {
                tracing::error!("{}: {err:#}", path.display());
                failed.push(path.display().to_string());
            }
        }
    }
    let basis = match model.basis.basis.take() {
        Some(basis) => Some(basis),
        None => estimator.finish().map_err(Failure::Running)?,
    };
    match basis {
        Some(basis) => results.iter().try_for_each(|image| image.save_colors(&options.out, &basis)),
        None if config.fit == Fit::Window => Ok(()),
        None => {
            tracing::warn!("no PCA images: no image has enough texture to estimate a basis");
            Ok(())
        }
    }
    .map_err(Failure::Running)?;
    if !failed.is_empty() {
        let (n_failed, n_images) = (failed.len(), options.images.len());
        let text = format!("{n_failed} of {n_images} images failed: {}", failed.join(", "));
        return Err(Failure::Running(anyhow::anyhow!(text)));
    }
    out.finish().map_err(Failure::Running)
}

/// Checks that no two images would write the same files.
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

/// The bytes of an image file, if they are not more than one of `max_pixels` has: eight a pixel before they
/// are packed, and 16 MB of anything else.
fn read(path: &Path, max_pixels: u64) -> anyhow::Result<Vec<u8>> {
    let most_bytes = 8 * max_pixels + (16 << 20);
    files::read(path, most_bytes).map_err(|err| {
        let about_size = match err.kind() {
            io::ErrorKind::Other => format!(", of which {max_pixels} pixels (max_image_pixels) may come"),
            _ => String::new(),
        };
        anyhow::Error::from(err).context(format!("cannot read the file{about_size}"))
    })
}

fn encode(
    model: &mut Model,
    dense: &mut Dense,
    reader: &mut Reader,
    path: &Path,
    layers: bool,
    estimator: &mut Estimator,
) -> anyhow::Result<ImageTokens> {
    let (input, tokens) = reader.forward(model, path)?;
    let mut readback = Readback::new(model.engine.host_memory());
    let (Some(tap), Some(last)) = (tokens.taps.get(model.feature_tap()), tokens.taps.last()) else {
        bail!("the engine returned no tokens")
    };
    let wanted: Topics = [Topic::Depth, Topic::Labels].into_iter().collect();
    let geometry = &input.geometry;
    // A file says nothing of its camera: depth is that of a camera as in training.
    let queued = dense.queue(&tokens, geometry, wanted, &mut readback)?;
    readback.wait(&*model.engine)?;
    let Maps { depth, labels } = dense.finish(queued, geometry, None)?;
    let (mut patch_tokens, mut class_tokens) = (None, None);
    if !geometry.is_windowed {
        let (grid, n_cls) = (geometry.grid(), model.card.n_cls_tokens as i64);
        let n_patches = i64::from(grid.width) * i64::from(grid.height);
        let patches = tensor::single(&tap.f_get(0)?.f_narrow(0, n_cls, n_patches)?)?;
        estimator.add(&patches, &input.pixels)?;
        patch_tokens = Some(patches.f_reshape([i64::from(grid.height), i64::from(grid.width), -1])?);
        class_tokens = Some(tensor::single(&last.f_get(0)?.f_narrow(0, 0, n_cls)?)?);
    }
    Ok(ImageTokens {
        name: stem(path)?,
        size: geometry.camera,
        grid: geometry.grid(),
        image_from_grid: geometry.camera_from_grid(),
        patch_tokens,
        class_tokens,
        depth,
        labels,
        hidden_states: if layers && !geometry.is_windowed {
            hidden_states(model.pixio(), &input)?
        } else {
            Vec::new()
        },
    })
}

fn hidden_states(pixio: &Pixio, input: &Input) -> anyhow::Result<Vec<Tensor>> {
    let blocks: Vec<usize> = (0..=pixio.config().num_hidden_layers).collect();
    let states = pixio.encode(&input.images()?, &blocks)?;
    states.iter().map(|state| Ok(tensor::single(&state.f_get(0)?)?)).collect()
}

impl ImageTokens {
    fn save(&self, path: &Path, model: &Model) -> anyhow::Result<()> {
        let pooled =
            self.class_tokens.as_ref().map(|tokens| tokens.f_mean_dim(&[0i64][..], false, Kind::Float));
        let pooled = pooled.transpose()?;
        let parts =
            [("patch_tokens", &self.patch_tokens), ("class_tokens", &self.class_tokens), ("pooled", &pooled)];
        let there = parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), part.as_ref()?)));
        let mut tensors: Vec<_> = there.collect();
        let depth = self.depth.as_ref().map(|map| Tensor::from_slice(&map.meters).reshape(map.size.sides()));
        let labels = self
            .labels
            .as_ref()
            .map(|map| Tensor::from_slice(&map.classes).to_kind(Kind::Float).reshape(map.size.sides()));
        tensors.extend(depth.iter().map(|depth| ("depth".to_owned(), depth)));
        tensors.extend(labels.iter().map(|labels| ("labels".to_owned(), labels)));
        let layers = self.hidden_states.iter().enumerate();
        tensors.extend(layers.map(|(k, state)| (format!("hidden_states.{k}"), state)));
        let about: HashMap<String, String> = [
            ("model", model.card.name.clone()),
            ("revision", model.card.revision.clone()),
            ("layer", model.card.layer.to_string()),
            ("image_size", self.size.to_string()),
            ("image_from_grid", serde_json::to_string(&self.image_from_grid)?),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let file = tensor::safetensors(tensors, about)?;
        files::write(path, &file).with_context(|| format!("cannot write {}", path.display()))
    }

    fn save_dense(&self, out: &Path) -> anyhow::Result<()> {
        if let Some(map) = &self.depth {
            save_png(out, &self.name, "depth", &depth_png(map)?)?;
        }
        if let Some(map) = &self.labels {
            let colors = encode::label_colors(&map.classes, &map.palette());
            save_png(out, &self.name, "segmentation", &encode::rgb8(&colors, map.size)?)?;
        }
        Ok(())
    }

    fn save_colors(&self, out: &Path, basis: &Basis) -> anyhow::Result<()> {
        let Some(tokens) = &self.patch_tokens else { return Ok(()) };
        let patches = tokens.f_flatten(0, 1)?;
        let image = pca_image(&basis.colors(&patches)?, self.grid)?;
        save_png(out, &self.name, "pca", &png(&image)?)
    }
}

fn save_png(out: &Path, name: &str, what: &str, file: &[u8]) -> anyhow::Result<()> {
    let path = out.join(format!("{name}.{what}.png"));
    files::write(&path, file).with_context(|| format!("cannot write {}", path.display()))
}
