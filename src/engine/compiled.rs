//! Packages that AOTInductor has compiled, as an engine.

use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use super::eager::Eager;
use super::int8::{Kernel, quantized};
use super::store::folder::{Folder, FolderError};
use super::store::machine::Machine;
use super::store::manifest::{self, BACKBONE, Manifest};
use super::{Engine, EngineError, Tokens, joined};
use crate::ffi::package::{Package, Signature};
use crate::geometry::Size;
use crate::pixio::Pixio;

/// Runs the packages of an engine folder on the weights of a model, and other sizes eagerly.
#[derive(Debug)]
pub struct Compiled {
    packages: Vec<SizedPackage>,
    /// Where `taps` stand among what the packages return.
    outputs: Vec<usize>,
    device: Device,
    /// For the sizes that `fit: auto` may come upon and that were not built.
    eager: Eager,
    told: Vec<Size>,
}

/// A package for one size and some batches.
#[derive(Debug)]
pub(super) struct SizedPackage {
    pub(super) size: Size,
    pub(super) batch: [i64; 2],
    pub(super) package: Package,
}

impl SizedPackage {
    /// Whether it serves `batch` images of `size`.
    pub(super) fn serves(&self, size: Size, batch: i64) -> bool {
        self.size == size && (self.batch[0]..=self.batch[1]).contains(&batch)
    }
}

/// An engine folder that does not become an engine.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The files of the engine.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A package.
    #[error("engine {}: {file}: {reason}", folder.display())]
    Package {
        /// The folder.
        folder: PathBuf,
        /// The package's file.
        file: String,
        /// What libtorch said, or what does not fit.
        reason: String,
    },
}

impl LoadError {
    pub(super) fn of(folder: &Folder, entry: &manifest::PackageEntry, reason: String) -> Self {
        Self::Package { folder: folder.path().to_owned(), file: entry.file.clone(), reason }
    }
}

impl Compiled {
    /// Loads the packages of `folder` for the sizes that `is_needed` names. Their constants are the tensors
    /// of `eager`'s model, which lies on `device`; nothing is copied. The folder must have been checked to
    /// fit the model.
    ///
    /// # Errors
    /// A file that is not whole, or a package that libtorch or the model's weights do not fit.
    pub fn load(
        folder: &Folder,
        eager: Eager,
        device: Device,
        is_needed: impl Fn(Size) -> bool,
    ) -> Result<Self, LoadError> {
        let Manifest { taps, int8_kernel, machine, .. } = &folder.manifest;
        let outputs =
            eager.taps().iter().filter_map(|tap| taps.iter().position(|built| built == tap)).collect();
        let mut weights =
            ConstantSource { pixio: eager.pixio(), int8_kernel: *int8_kernel, machine, made: Vec::new() };
        let mut packages = Vec::new();
        for entry in folder.manifest.parts(BACKBONE) {
            let failed = |reason: String| LoadError::of(folder, entry, reason);
            let size = entry.size().map_err(failed)?;
            if !is_needed(size) {
                continue;
            }
            let loaded = load(&folder.file(entry)?, entry, size, &mut weights, device);
            packages.push(SizedPackage {
                size,
                batch: entry.batch,
                package: loaded.map_err(|err| failed(err.message))?,
            });
        }
        Ok(Self { packages, outputs, device, eager, told: Vec::new() })
    }

    /// The package for `batch` images of `size`; nothing when the size was not built.
    fn package(&mut self, size: Size, batch: i64) -> Result<Option<&mut Package>, EngineError> {
        if let Some(index) = self.packages.iter().position(|loaded| loaded.serves(size, batch)) {
            return Ok(Some(&mut self.packages[index].package));
        }
        let of_size = self.packages.iter().filter(|loaded| loaded.size == size);
        let mut built = of_size.map(|loaded| loaded.batch).peekable();
        if built.peek().is_none() {
            return Ok(None);
        }
        let built = manifest::batches(built);
        let message =
            format!("a batch of {batch} was asked for, the engine was built for batches of {built}");
        Err(EngineError { message })
    }

    fn say_once(&mut self, size: Size) {
        if !self.told.contains(&size) {
            self.told.push(size);
            tracing::warn!("the engine was not built for {size}: such images run eagerly");
        }
    }
}

/// The model's parameters in the form that the packages want.
struct ConstantSource<'a> {
    pixio: &'a Pixio,
    int8_kernel: Option<Kernel>,
    machine: &'a Machine,
    /// Constants that are made from the model's weights; the same for every size.
    made: Vec<(String, Tensor)>,
}

impl ConstantSource<'_> {
    /// For images of `size`.
    fn constants(&mut self, size: Size) -> Result<Vec<(String, Tensor)>, EngineError> {
        let constants = self.pixio.constants(size.patches())?;
        let Some(kernel) = self.int8_kernel else { return Ok(constants) };
        let (position, others): (Vec<_>, _) = constants.into_iter().partition(|(name, _)| name == "position");
        if self.made.is_empty() {
            self.made = quantized(others, kernel, self.machine)?;
        }
        let made = self.made.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        Ok(made.chain(position).collect())
    }
}

fn load(
    file: &Path,
    entry: &manifest::PackageEntry,
    size: Size,
    weights: &mut ConstantSource<'_>,
    device: Device,
) -> Result<Package, EngineError> {
    let signature = Signature {
        kind: Kind::Uint8,
        batch: entry.batch[0]..=entry.batch[1],
        shape: vec![i64::from(size.height), i64::from(size.width), 3],
        device,
    };
    let mut package = Package::open(file, signature)?;
    let wanted = package.constant_names()?;
    // The norm of a tap before the last block and the blocks after it may not be in the package.
    let constants = weights.constants(size)?.into_iter().filter(|(name, _)| wanted.contains(name));
    package.give_constants(constants.collect(), |name| entry.form(name))?;
    Ok(package)
}

impl Engine for Compiled {
    fn kind(&self) -> String {
        "compiled".into()
    }

    fn taps(&self) -> &[usize] {
        self.eager.taps()
    }

    fn stops_early(&self) -> bool {
        false
    }

    fn run(&mut self, images: &[Tensor], n_taps: usize) -> Result<Tokens, EngineError> {
        let images = joined(images)?;
        let (batch, height, width, _) = images.size4()?;
        let side = |side: i64| u32::try_from(side).unwrap_or_default();
        let size = Size { width: side(width), height: side(height) };
        let _no_grad = tch::no_grad_guard();
        let device = self.device;
        let Some(package) = self.package(size, batch)? else {
            self.say_once(size);
            return self.eager.run(&[images], n_taps);
        };
        let mut outputs: Vec<_> = package.run(&images.f_to_device(device)?)?.into_iter().map(Some).collect();
        let taps = self.outputs.iter().take(n_taps).map(|&index| {
            let tap = outputs.get_mut(index).and_then(Option::take);
            tap.ok_or_else(|| EngineError { message: "the package returned too few tensors".into() })
        });
        Ok(Tokens { taps: taps.collect::<Result<_, _>>()?, ..Tokens::default() })
    }
}
