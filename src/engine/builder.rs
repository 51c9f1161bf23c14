//! Makes engine folders: has `python/pixio_engine` compile the packages, proves each and writes the manifest.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use process_wrap::std::ChildWrapper;
use serde::Deserialize;
use serde_json::json;
use tch::Device;

use super::Engine;
use super::int8::Kernel;
use super::job::{EngineJob, Refusal};
use super::prove_all::prove_all;
use super::store::folder::{self, Draft, Folder, FolderError};
use super::store::machine::{BASELINE, Machine, torch_version};
use super::store::manifest::{Architecture, Constant, FORMAT, Manifest, PackageEntry};
use super::store::target::Target;
use super::verdict::Slower;
use crate::heads::Head;
use crate::runtime::child;
use crate::runtime::lock::lock;

/// The compiler in Python: a program and the package `pixio_engine` beside it. Both are part of the binary
/// because they must fit the model in Rust.
const COMPILER: [(&str, &str); 7] = [
    ("build_engine.py", include_str!("../../python/pixio_engine/__main__.py")),
    ("pixio_engine/__init__.py", include_str!("../../python/pixio_engine/__init__.py")),
    ("pixio_engine/build.py", include_str!("../../python/pixio_engine/build.py")),
    ("pixio_engine/cross.py", include_str!("../../python/pixio_engine/cross.py")),
    ("pixio_engine/cuda.py", include_str!("../../python/pixio_engine/cuda.py")),
    ("pixio_engine/heads.py", include_str!("../../python/pixio_engine/heads.py")),
    ("pixio_engine/model.py", include_str!("../../python/pixio_engine/model.py")),
];

/// Folder of the compiler and its caches in a draft; gone when it is finished.
const WORK: &str = "work";

/// What to build.
#[derive(Debug)]
pub struct Plan {
    /// The model, where it runs, its taps and sizes.
    pub job: EngineJob,
    /// The GPU to compile for where it is in another machine; the model is then on the CPU, and nothing is
    /// proven here.
    pub target: Option<Target>,
    /// The heads to compile beside it.
    pub heads: Vec<Head>,
    /// Batch sizes, ascending. On the CPU one package serves every one up to the last, on a GPU each has its
    /// own.
    pub batches: Vec<i64>,
    /// Python with torch; `None` takes the one that the libtorch in use belongs to, else `python3`.
    pub python: Option<PathBuf>,
    /// The folder to make.
    pub out: PathBuf,
    /// What multiplies an int8 engine's integers; `None` for the others.
    pub int8_kernel: Option<Kernel>,
    /// Whether the compiler tries several kernels for every matrix product and takes the fastest, which
    /// takes minutes.
    pub max_autotune: bool,
    /// Time for proving and measuring what was built.
    pub budget: Duration,
    /// Whether the build leaves the processor to others that want it.
    pub is_background: bool,
}

/// Why there is no new engine. What was there before is still there.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder cannot be made.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No Python.
    #[error("{}: {reason}; building engines needs Python with torch: run scripts/setup --engines, or give \
             --python",
            python.display())]
    Python {
        /// What was started.
        python: PathBuf,
        /// Why that failed.
        reason: String,
    },
    /// Another torch than this binary's.
    #[error("{} has torch {found}, this node runs {expected}: engines run on the torch that compiled them; \
             give --python",
            python.display())]
    Torch {
        /// What was started.
        python: PathBuf,
        /// The version of torch in that Python.
        found: String,
        /// The version that this node runs.
        expected: String,
    },
    /// The compiler's own.
    #[error("the engine cannot be compiled: {reason}")]
    Compile {
        /// One line.
        reason: String,
    },
    /// The package was compiled but failed validation.
    #[error("the engine was compiled, but failed validation: {0}")]
    Useless(Refusal),
    /// A file.
    #[error("{what}: {reason}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// Somebody stopped it.
    #[error("the build was stopped")]
    Stopped,
}

// Not by `#[from]`: as a source its text would be told twice.
impl From<Refusal> for BuildError {
    fn from(refusal: Refusal) -> Self {
        Self::Useless(refusal)
    }
}

/// Ends a build from another thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Mutex<Stopping>>);

#[derive(Debug, Default)]
struct Stopping {
    stopped: bool,
    /// The tool ends itself, and all that it has started, when this is closed: so it does when this process
    /// dies.
    tool: Option<ChildStdin>,
}

impl Stop {
    /// Ends the build, now or as soon as it begins.
    pub fn stop(&self) {
        let mut state = lock(&self.0);
        (state.stopped, state.tool) = (true, None);
    }

    /// Whether the build was told to stop.
    pub fn is_stopped(&self) -> bool {
        lock(&self.0).stopped
    }

    fn keep(&self, tool: Option<ChildStdin>) {
        let mut state = lock(&self.0);
        state.tool = tool.filter(|_| !state.stopped);
    }
}

/// A line that the tool writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToolLine {
    Torch(String),
    Progress(String),
    Package(CompiledPackage),
    Error(String),
}

/// A package that the tool has written.
#[derive(Debug, Deserialize)]
struct CompiledPackage {
    part: String,
    file: String,
    size: String,
    batch: [i64; 2],
    constants: BTreeMap<String, Constant>,
}

/// A new engine: on disk, and loaded and proven unless it is for another machine.
pub struct Built {
    /// On disk.
    pub folder: Folder,
    /// Ready to serve; `None` for an engine that cannot run here.
    pub engine: Option<Box<dyn Engine>>,
    /// Why it should not serve, if it is slower than the eager model.
    pub slower: Option<Slower>,
}

/// Batches that engines are built for unless something else is asked.
pub const DEFAULT_BATCHES: [i64; 4] = [1, 2, 4, 8];

/// [`Plan::budget`] unless something else is asked.
pub const BUDGET: Duration = Duration::from_secs(20);

/// Builds `plan`; `progress` hears what is being done.
///
/// # Errors
/// Why there is no new engine.
pub fn build(plan: &Plan, stop: &Stop, progress: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
    let draft = Draft::begin(&plan.out)?;
    let made = compile(plan, &draft, stop, progress)?;
    let io = |what: &str, reason| BuildError::Io { what: what.into(), reason };
    fs::remove_dir_all(draft.path().join(WORK)).map_err(|err| io("cannot remove the compiler", err))?;
    let mut packages = Vec::new();
    for CompiledPackage { part, file, size, batch, constants } in made {
        let sha256 = folder::hash(&draft.path().join(&file)).map_err(|err| io(&file, err))?;
        packages.push(PackageEntry {
            part,
            file,
            sha256,
            size,
            batch,
            constants,
            parity: Vec::new(),
            times: Vec::new(),
        });
    }
    let EngineJob { pixio, device, arithmetic, taps, .. } = &plan.job;
    let mut manifest = Manifest {
        format: FORMAT,
        architecture: Architecture::of(pixio.config()),
        taps: taps.clone(),
        precision: *arithmetic,
        int8_kernel: plan.int8_kernel,
        torch: torch_version(),
        machine: Machine::of_engine(*device, plan.target).map_err(|err| Refusal::Device(err.into()))?,
        packages,
    };
    let (engine, slower) = match plan.target {
        Some(_) => (None, None),
        None => {
            let (engine, slower) = prove_all(plan, &draft, &mut manifest, stop, progress)?;
            (Some(engine), slower)
        }
    };
    draft.finish(&manifest)?;
    Ok(Built { folder: Folder::open(&plan.out)?, engine, slower })
}

/// Runs the tool in the draft and returns what it has made.
fn compile(
    plan: &Plan,
    draft: &Draft,
    stop: &Stop,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<CompiledPackage>, BuildError> {
    let work = draft.path().join(WORK);
    write_inputs(plan, draft, &work)
        .map_err(|reason| BuildError::Io { what: format!("cannot write {}", work.display()), reason })?;
    let python = plan.python.clone().or_else(python_of_libtorch).unwrap_or_else(|| "python3".into());
    let no_python = |reason: String| BuildError::Python { python: python.clone(), reason };
    let mut tool = start(&python, &work).map_err(|err| no_python(err.to_string()))?;
    stop.keep(tool.stdin().take());
    let read = listen(&mut *tool, &python, progress);
    stop.keep(None);
    let status = tool.wait().map_err(|err| no_python(err.to_string()))?;
    if stop.is_stopped() {
        return Err(BuildError::Stopped);
    }
    let made = read?;
    if let Some(signal) = status.signal() {
        let reason =
            format!("the compiler was ended by signal {signal}, as the system does when memory runs out");
        return Err(BuildError::Compile { reason });
    }
    if !status.success() || made.is_empty() {
        let reason = last_line(&work.join("stderr")).unwrap_or_else(|| status.to_string());
        return Err(no_python(reason));
    }
    Ok(made)
}

fn start(python: &Path, work: &Path) -> std::io::Result<Box<dyn ChildWrapper>> {
    // In a group of its own, which it ends as a whole. The caches of the compiler go with the draft: the
    // default ones in /tmp could be anybody's.
    let mut command = Command::new(python);
    command
        .arg(work.join(COMPILER[0].0))
        .arg(work.join("plan.json"))
        .env("TORCHINDUCTOR_CACHE_DIR", work.join("inductor"))
        .env("TRITON_CACHE_DIR", work.join("triton"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(work.join("stderr"))?)
        .process_group(0);
    child::spawn(command)
}

fn listen(
    tool: &mut dyn ChildWrapper,
    python: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<CompiledPackage>, BuildError> {
    let mut made = Vec::new();
    let Some(stdout) = tool.stdout().take() else { return Ok(made) };
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        match serde_json::from_str::<ToolLine>(&line) {
            Ok(ToolLine::Torch(found)) if found != torch_version() => {
                let expected = torch_version();
                return Err(BuildError::Torch { python: python.to_owned(), found, expected });
            }
            Ok(ToolLine::Torch(_)) => (),
            Ok(ToolLine::Progress(text)) => progress(&text),
            Ok(ToolLine::Package(package)) => made.push(package),
            Ok(ToolLine::Error(reason)) => return Err(BuildError::Compile { reason }),
            Err(_) => tracing::debug!("{line}"),
        }
    }
    Ok(made)
}

fn write_inputs(plan: &Plan, draft: &Draft, work: &Path) -> std::io::Result<()> {
    fs::create_dir_all(work.join("pixio_engine"))?;
    for (name, text) in COMPILER {
        fs::write(work.join(name), text)?;
    }
    let EngineJob { pixio, device, arithmetic, taps, sizes, .. } = &plan.job;
    let device = match (plan.target, device) {
        (Some(_), _) => "cuda:0".into(),
        (None, Device::Cuda(index)) => format!("cuda:{index}"),
        (None, _) => "cpu".into(),
    };
    let sizes: Vec<_> = sizes.iter().map(|size| [size.width, size.height]).collect();
    let heads: BTreeMap<_, _> = plan
        .heads
        .iter()
        .map(|head| {
            let card = head.card();
            let about = json!({"head": card.head, "n_outputs": card.n_outputs(), "n_taps": card.taps.len()});
            (card.task.name(), about)
        })
        .collect();
    let text = json!({
        "architecture": Architecture::of(pixio.config()),
        "taps": taps,
        "heads": heads,
        "sizes": sizes,
        "batches": plan.batches,
        "precision": arithmetic,
        "int8_kernel": plan.int8_kernel,
        "device": device,
        "capability": plan.target.map(Target::capability),
        "march": BASELINE,
        "out": draft.path(),
        "max_autotune": plan.max_autotune,
        "niceness": if plan.is_background { 10 } else { 0 },
    });
    fs::write(work.join("plan.json"), text.to_string())
}

/// The interpreter of the environment whose libtorch this process has loaded: that is the torch that engines
/// must be compiled with.
fn python_of_libtorch() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let loaded = maps
        .lines()
        .find_map(|line| line.split_whitespace().nth(5).filter(|path| path.ends_with("/libtorch_cpu.so")))?;
    // PREFIX/lib/python3.X/site-packages/torch/lib/libtorch_cpu.so
    let prefix = Path::new(loaded).ancestors().nth(6)?;
    Some(prefix.join("bin/python3")).filter(|python| python.is_file())
}

/// The last line of what the tool wrote when it failed without a word of ours.
fn last_line(file: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(file).ok()?.read_to_string(&mut text).ok()?;
    text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_python_package_is_carried() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/pixio_engine");
        let names =
            fs::read_dir(package).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let files: BTreeSet<_> = names
            .filter(|name| {
                Path::new(name).extension().is_some_and(|end| end == "py") && name != "__main__.py"
            })
            .map(|name| format!("pixio_engine/{name}"))
            .collect();
        assert_eq!(COMPILER[1..].iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>(), files);
    }
}
