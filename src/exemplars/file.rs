//! Files of exemplars: safetensors with `tokens` `[N, C]` and `classes` `[N]` in float32, and what they mean in
//! the metadata. One lies beside every head that was taught, so that teaching goes on another day.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::names::checked_name;
use super::store::{Binding, Exemplar, Exemplars, Learnt, Limits, OTHER};
use crate::files;
use crate::heads::{self, Class, EncoderCard, HeadParts, MOST_CLASSES};
use crate::runtime::tensor;
use crate::text::foreign;

/// Key of the card in the metadata.
const CARD: &str = "exemplars";

/// The form of the card.
const FORMAT: u32 = 1;

/// Most bytes of a file: 10,000 exemplars of four taps of 1,536 channels take 250 MB.
const MOST_BYTES: u64 = 1 << 30;

/// The ending of a file of exemplars before that of safetensors.
const ENDING: &str = ".exemplars.safetensors";

#[derive(Serialize, Deserialize)]
struct Card {
    format: u32,
    #[serde(flatten)]
    binding: Binding,
    classes: Vec<Class>,
    #[serde(default)]
    threshold: f64,
}

/// Where the exemplars of the head file `head` lie: `NAME.exemplars.safetensors` beside `NAME.safetensors`.
pub fn beside(head: &Path) -> PathBuf {
    let name = head.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".safetensors").unwrap_or(&name);
    head.with_file_name(OsString::from(format!("{stem}{ENDING}")))
}

impl Exemplars {
    /// The bytes of the file.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let n = self.labelled.len() as i64;
        let tokens = self.labelled.iter().flat_map(|labelled| labelled.exemplar.tokens.iter().copied());
        let tokens = Tensor::f_from_slice(&tokens.collect::<Vec<f32>>())?;
        let classes = self.labelled.iter().map(|labelled| f32::from(labelled.class));
        let classes = Tensor::f_from_slice(&classes.collect::<Vec<f32>>())?;
        let (binding, named) = (self.binding.clone(), self.classes.clone());
        let card = Card { format: FORMAT, binding, classes: named, threshold: self.threshold };
        let metadata = HashMap::from([(CARD.to_owned(), serde_json::to_string(&card)?)]);
        let n_channels = self.binding.n_channels() as i64;
        tensor::safetensors(
            [("tokens".to_owned(), &tokens.f_reshape([n, n_channels])?), ("classes".to_owned(), &classes)],
            metadata,
        )
    }

    /// Saves the head `parts` as `head` and the exemplars beside it. Returns where these are.
    ///
    /// # Errors
    /// There is a file in the way that is neither, or one cannot be written; then nothing is replaced.
    pub fn save(&self, head: &Path, parts: &HeadParts) -> anyhow::Result<PathBuf> {
        let shown = |path: &Path| foreign(&path.to_string_lossy()).to_string();
        ensure!(
            head.to_string_lossy().ends_with(".safetensors") && !head.to_string_lossy().ends_with(ENDING),
            "{:?} is no name of a head: it ends in .safetensors, and not in {ENDING}",
            shown(head)
        );
        // Of a link, the exemplars belong beside what it leads to.
        let head = &if head.is_symlink() {
            head.canonicalize().with_context(|| format!("the link {}", shown(head)))?
        } else {
            std::path::absolute(head)?
        };
        let own = beside(head);
        // Whoever may save heads replaces nothing but what was taught: a trained head has no exemplars.
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        let is_taught = || {
            let has = |path, key| files::safetensors::metadata(path, key).is_some();
            (!is_there(head) || has(head, heads::CARD)) && has(&own, CARD)
        };
        for path in [head, &own] {
            ensure!(
                !is_there(path) || is_taught(),
                "{} is there and was not saved by teaching: give another path",
                shown(path)
            );
        }
        // Both or none: the head takes its place when its exemplars are on the disk already.
        let written = own.with_extension("new");
        let failed = |path: &Path| format!("cannot write {}", shown(path));
        let head_is_written = files::write(&written, &self.bytes()?)
            .with_context(|| failed(&own))
            .and_then(|()| files::write(head, &parts.bytes()?).with_context(|| failed(head)));
        if let Err(err) = head_is_written {
            // It may not have come so far.
            let _gone = std::fs::remove_file(&written);
            return Err(err);
        }
        std::fs::rename(&written, &own).with_context(|| failed(&own))?;
        Ok(own)
    }

    /// Reads the exemplars of `path`, which must be of `binding`; beyond the `limits` some are left out. A
    /// `threshold` of 0 is that of the file.
    ///
    /// # Errors
    /// The file cannot be read, is no file of exemplars, or is of another model or of other blocks.
    pub fn load(path: &Path, binding: Binding, limits: Limits, threshold: f64) -> anyhow::Result<Self> {
        let read = || {
            let bytes = files::read(path, MOST_BYTES)?;
            Self::parse(&bytes, binding, limits, threshold)
        };
        let about = || format!("exemplars {}", foreign(&path.to_string_lossy()));
        let exemplars = read().with_context(about)?;
        if let Some(left_out) = exemplars.left_out() {
            tracing::warn!("{}: {left_out}", about());
        }
        Ok(exemplars)
    }

    /// Takes the exemplars beside the head file `head` instead of its own. A class keeps the number that it has
    /// here, whatever its number there.
    ///
    /// # Errors
    /// As [`Exemplars::load`], or there are too many classes; nothing changes.
    pub fn replace(&mut self, head: &Path) -> anyhow::Result<Learnt> {
        let other = Self::load(&beside(head), self.binding.clone(), self.limits, self.threshold)?;
        self.take_over(other).map_err(anyhow::Error::msg)?;
        Ok(Learnt { class: None, n_exemplars: self.labelled.len(), is_loaded: true })
    }

    pub(super) fn parse(
        bytes: &[u8],
        binding: Binding,
        limits: Limits,
        threshold: f64,
    ) -> anyhow::Result<Self> {
        files::safetensors::check(bytes).map_err(anyhow::Error::msg)?;
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(cut).context("not a whole safetensors file")?;
        let card = header.metadata().as_ref().and_then(|metadata| metadata.get(CARD));
        let card = card.context("it has no card of exemplars in its metadata")?;
        let Card { format, binding: own, classes, threshold: own_threshold } =
            serde_json::from_str(card).map_err(cut).context("its card")?;
        ensure!(format == FORMAT, "its card has format {format}, this node reads format {FORMAT}");
        check_binding(&own, &binding)?;
        ensure!(
            (1..=MOST_CLASSES).contains(&classes.len()),
            "it has {} classes, 1 to {MOST_CLASSES} are possible",
            classes.len()
        );
        for Class { name, .. } in &classes {
            let own = checked_name(name).map_err(anyhow::Error::msg)?;
            ensure!(own == name, "the class name {:?} has spaces around it", foreign(name));
        }
        ensure!(classes[0].name == OTHER, "its class 0 is {:?}, not `{OTHER}`", foreign(&classes[0].name));
        for (number, class) in classes.iter().enumerate() {
            let is_twice = classes[..number].iter().any(|other| other.name == class.name);
            ensure!(!is_twice, "it names the class {:?} twice", foreign(&class.name));
        }
        ensure!(
            (0.0..=1.0).contains(&own_threshold),
            "its threshold is {own_threshold}, 0 to 1 are possible"
        );

        let file = SafeTensors::deserialize(bytes).map_err(cut).context("not a whole safetensors file")?;
        let n = file.tensor("classes")?.shape().first().copied().unwrap_or_default();
        let n_channels = binding.n_channels();
        let numbers = floats(&file, "classes", &[n])?;
        let tokens = floats(&file, "tokens", &[n, n_channels])?;
        let mut labelled = Vec::with_capacity(numbers.len());
        for (index, number) in numbers.into_iter().enumerate() {
            ensure!(
                number.fract() == 0.0 && (0.0..classes.len() as f32).contains(&number),
                "exemplar {index} is of class {number}, there are {}",
                classes.len()
            );
            let tokens = tokens[index * n_channels..][..n_channels].to_vec();
            labelled.push((number as u8, Exemplar { tokens }));
        }
        let threshold = if threshold == 0.0 { own_threshold } else { threshold };
        let mut exemplars = Self::new(binding, limits, threshold);
        exemplars.restore(classes, labelled).map_err(anyhow::Error::msg)?;
        Ok(exemplars)
    }
}

/// `err`, which may repeat what it has read, however long.
fn cut(err: impl Display) -> anyhow::Error {
    anyhow::anyhow!("{}", foreign(&err.to_string()))
}

/// # Errors
/// Both, where exemplars of one say nothing about tokens of the other.
fn check_binding(file: &Binding, node: &Binding) -> anyhow::Result<()> {
    let about = |binding: &Binding| {
        let EncoderCard { model, revision, hidden_size, .. } = &binding.backbone;
        let taps: Vec<String> = binding.taps.iter().take(8).map(usize::to_string).collect();
        let (model, revision) = (foreign(model), foreign(revision));
        format!("blocks {} of {hidden_size} channels of {model} revision {revision}", taps.join(", "))
    };
    let same = |binding: &Binding| {
        let EncoderCard { revision, hidden_size, .. } = &binding.backbone;
        (revision.clone(), *hidden_size, binding.taps.clone())
    };
    if same(file) != same(node) {
        bail!("they are of {}, and the node reads {}", about(file), about(node));
    }
    Ok(())
}

fn floats(file: &SafeTensors, name: &str, shape: &[usize]) -> anyhow::Result<Vec<f32>> {
    let view = file.tensor(name)?;
    ensure!(
        view.dtype() == Dtype::F32 && view.shape() == shape,
        "tensor {name} is {:?} of {:?}, expected F32 of {shape:?}",
        view.shape(),
        view.dtype()
    );
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let values: Vec<_> = values.collect();
    ensure!(values.iter().all(|value| value.is_finite()), "tensor {name} has values that are not finite");
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::{binding, exemplar};
    use super::*;

    const LIMITS: Limits = Limits { per_class: 10, in_all: 100 };

    fn taught() -> Exemplars {
        let mut store = Exemplars::new(binding(), LIMITS, 0.25);
        store.learn("door", vec![exemplar(1.0), exemplar(2.0)]).unwrap();
        store.learn("floor", vec![exemplar(-3.0)]).unwrap();
        store
    }

    #[test]
    fn what_was_saved_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = beside(&folder.path().join("doors.safetensors"));
        assert_eq!(path, folder.path().join("doors.exemplars.safetensors"));
        let store = taught();
        files::write(&path, &store.bytes().unwrap()).unwrap();
        let back = Exemplars::load(&path, binding(), LIMITS, 0.0).unwrap();
        assert_eq!((back.classes(), back.counts()), (store.classes(), vec![0, 2, 1]));
        let pairs = back.labelled.iter().zip(&store.labelled);
        assert!(pairs.into_iter().all(|(a, b)| a.class == b.class && a.exemplar == b.exemplar));
        let few = Exemplars::load(&path, binding(), Limits { per_class: 1, in_all: 100 }, 0.5).unwrap();
        assert_eq!(few.counts(), [0, 1, 1]);
        assert_eq!(back.left_out(), None);
        let expect = "1 of 3 are left out: exemplars_per_class is 1, and exemplars_in_all is 100, of which \
                      each class keeps at least one";
        assert_eq!(few.left_out().as_deref(), Some(expect));
        assert_eq!((back.threshold, few.threshold), (0.25, 0.5));
        // What comes from a file cannot be taken back, what is learnt after it can.
        let mut back = back;
        assert!(back.undo().unwrap_err().contains("nothing to take back"));
        back.learn("door", vec![exemplar(4.0)]).unwrap();
        back.undo().unwrap();
        assert_eq!(back.counts(), [0, 2, 1]);
    }

    #[test]
    fn exemplars_of_another_model_are_refused_by_name() {
        let bytes = taught().bytes().unwrap();
        let check = |binding: Binding, bytes: &[u8], expect: &str| {
            let answer = format!("{:#}", Exemplars::parse(bytes, binding, LIMITS, 0.0).unwrap_err());
            assert!(answer.contains(expect), "{expect:?} is not in: {answer}");
        };
        let mut other = binding();
        other.taps = vec![1, 4];
        check(
            other,
            &bytes,
            "they are of blocks 2, 4 of 2 channels of m revision 0123456789ab, and the node reads blocks 1, 4 of 2",
        );
        let mut other = binding();
        other.backbone.revision = "ba9876543210".into();
        check(other, &bytes, "revision ba9876543210");
        check(binding(), &bytes[..bytes.len() - 1], "not a whole safetensors file");
        check(binding(), b"{}", "not a safetensors file");
        let metadata = HashMap::from([("card".to_owned(), "{}".to_owned())]);
        let head = tensor::safetensors([], metadata).unwrap();
        check(binding(), &head, "no card of exemplars");
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        let check = |from: &str, to: &str, expect: &str| {
            let bytes = taught().bytes().unwrap();
            let text: Vec<u8> = bytes.clone();
            let at = text.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            let mut spoilt = bytes;
            spoilt[at..at + to.len()].copy_from_slice(to.as_bytes());
            let answer = Exemplars::parse(&spoilt, binding(), LIMITS, 0.0);
            let answer = answer.map_or_else(|err| format!("{err:#}"), |_| "fine".into());
            assert!(answer.contains(expect), "{expect:?} is not in: {answer}");
        };
        check("\\\"format\\\":1", "\\\"format\\\":2", "format 2");
        check("\"tokens\"", "\"tokenz\"", "tokens");
        check("\\\"name\\\":\\\"floor", "\\\"name\\\":\\\"other", "names the class \"other\" twice");
        check("\\\"name\\\":\\\"other", "\\\"name\\\":\\\"otter", "its class 0 is \"otter\"");
        check("floor", "floo ", "\"floo \" has spaces around it");
        check("floor", "fl\u{200b}", "has the character U+200B");
    }
}
