//! A model that AOTInductor has compiled, loaded from a `.pt2` file.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use tch::{Device, Kind, Tensor};

use super::{ShimError, cuda, text};

/// The one input that a package takes. libtorch looks at none of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Element type.
    pub kind: Kind,
    /// Length of the first axis.
    pub batch: RangeInclusive<i64>,
    /// Lengths of the others.
    pub shape: Vec<i64>,
    /// Where the package runs and its input must be.
    pub device: Device,
}

/// What a constant of a package must be. libtorch looks at none of this either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstantForm {
    /// Element type.
    pub kind: Kind,
    /// Shape of the constant.
    pub shape: Vec<i64>,
    /// Whether the second axis, of channels, lies innermost in memory; the last does otherwise.
    pub channels_last: bool,
}

impl ConstantForm {
    fn is_layout_of(&self, tensor: &Tensor) -> Result<bool, ShimError> {
        match (self.channels_last, tensor.dim()) {
            (true, 4) => Ok(tensor.f_permute([0, 2, 3, 1])?.is_contiguous()),
            (true, _) => Ok(false),
            (false, _) => Ok(tensor.is_contiguous()),
        }
    }
}

impl Signature {
    fn check(&self, input: &Tensor) -> Result<(), ShimError> {
        let (kind, shape, device) = (input.f_kind()?, input.size(), input.device());
        let fits =
            shape.split_first().is_some_and(|(batch, rest)| self.batch.contains(batch) && rest == self.shape);
        if kind != self.kind || !fits || device != self.device {
            let Self { kind: expected, batch, shape: rest, device: on } = self;
            let (min, max) = (batch.start(), batch.end());
            return Err(ShimError::new(format!(
                "input is {kind:?} {shape:?} on {device:?}, the package takes {expected:?} [{min} to {max}, \
                 {rest:?}] on {on:?}"
            )));
        }
        // Its strides are not looked at: another layout would be read as if it were this one.
        if !input.is_contiguous() {
            return Err(ShimError::new(format!("input {shape:?} is not contiguous")));
        }
        Ok(())
    }
}

/// Most tensors that a package may return.
const MAX_OUTPUTS: usize = 64;

/// A loaded package.
#[derive(Debug)]
pub struct Package {
    raw: NonNull<c_void>,
    signature: Signature,
    /// The package works on these where they lie; it is closed before they go.
    constants: Vec<Tensor>,
    is_ready: bool,
}

// SAFETY: a package has no ties to the thread that opened it, and `&mut self` keeps others out.
unsafe impl Send for Package {}

impl Package {
    /// Loads the machine code in `file` and runs its initialisers: the caller must trust it. It runs on
    /// `signature.device`.
    ///
    /// # Errors
    /// The file is no package, or one that this libtorch cannot load.
    pub fn open(file: &Path, signature: Signature) -> Result<Self, ShimError> {
        let path = CString::new(file.as_os_str().as_bytes())
            .map_err(|_| ShimError::new("a path with a zero byte"))?;
        let device_index = match signature.device {
            Device::Cuda(index) => {
                c_int::try_from(index).map_err(|_| ShimError::new("no such CUDA device"))?
            }
            _ => -1,
        };
        // SAFETY: `path` is a C string that lives during the call.
        let raw = unsafe { pixio_package_open(path.as_ptr(), device_index) };
        let raw = NonNull::new(raw).ok_or_else(last_error)?;
        let package = Self { raw, signature, constants: Vec::new(), is_ready: false };
        let device = if package.signature.device.is_cuda() { "cuda" } else { "cpu" };
        match package.metadata()?.get("AOTI_DEVICE_KEY") {
            Some(built) if built != device => {
                Err(ShimError::new(format!("it was compiled for {built}, it is to run on {device}")))
            }
            _ => Ok(package),
        }
    }

    /// What the compiler noted about the package: `AOTI_DEVICE_KEY`, `AOTI_CPU_ISA` and so on.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>, ShimError> {
        unsafe extern "C" fn each(pairs: *mut c_void, key: *const c_char, value: *const c_char) {
            // SAFETY: `pairs` is the map below, and nothing else uses it during the call.
            let pairs = unsafe { &mut *pairs.cast::<BTreeMap<String, String>>() };
            // SAFETY: libtorch hands out the characters of std::strings that live during this call.
            let (key, value) = unsafe { (text(key), text(value)) };
            pairs.insert(key, value);
        }
        let mut pairs = BTreeMap::<String, String>::new();
        // SAFETY: the package is open; `each` gets the map that outlives the call.
        let done =
            unsafe { pixio_package_metadata(self.raw.as_ptr(), each, ptr::from_mut(&mut pairs).cast()) };
        done.then_some(pairs).ok_or_else(last_error)
    }

    /// Names of the constants that the package wants.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn constant_names(&self) -> Result<Vec<String>, ShimError> {
        unsafe extern "C" fn each(names: *mut c_void, name: *const c_char) {
            // SAFETY: `names` is the vector below, and nothing else uses it during the call.
            let names = unsafe { &mut *names.cast::<Vec<String>>() };
            // SAFETY: libtorch hands out the characters of a std::string that lives during this call.
            names.push(unsafe { text(name) });
        }
        let mut names = Vec::<String>::new();
        // SAFETY: the package is open; `each` gets the vector that outlives the call.
        let done =
            unsafe { pixio_package_constants(self.raw.as_ptr(), each, ptr::from_mut(&mut names).cast()) };
        done.then_some(names).ok_or_else(last_error)
    }

    /// Gives the package its constants, by name. They are not copied; every one must have the form that the
    /// package was compiled for, which libtorch does not look at, and which `expected` tells with the name.
    ///
    /// # Errors
    /// One is missing, unknown, or of another shape, layout, type or device.
    pub fn give_constants(
        &mut self,
        constants: Vec<(String, Tensor)>,
        expected: impl Fn(&str) -> Option<ConstantForm>,
    ) -> Result<(), ShimError> {
        for (name, tensor) in &constants {
            let Some(form) = expected(name) else {
                return Err(ShimError::new(format!("constant {name} is not one of the package's")));
            };
            let (kind, shape, device) = (tensor.f_kind()?, tensor.size(), tensor.device());
            let is_alike = kind == form.kind && shape == form.shape && device == self.signature.device;
            if !is_alike || !form.is_layout_of(tensor)? {
                let (strides, on) = (tensor.stride(), self.signature.device);
                let layout = if form.channels_last { "channels last" } else { "contiguous" };
                let ConstantForm { kind: expected, shape: expected_shape, .. } = form;
                return Err(ShimError::new(format!(
                    "constant {name} is {kind:?} {shape:?} on {device:?}, the package was compiled for \
                     {expected:?} {expected_shape:?} on {on:?}, {layout}; its strides are {strides:?}"
                )));
            }
        }
        let wanted = self.constant_names()?;
        if let Some(missing) = wanted.iter().find(|name| constants.iter().all(|(given, _)| given != *name)) {
            return Err(ShimError::new(format!(
                "the package wants a constant {missing}, which is not given"
            )));
        }
        let names = constants.iter().map(|(name, _)| CString::new(name.as_str()));
        let names =
            names.collect::<Result<Vec<_>, _>>().map_err(|_| ShimError::new("a name with a zero byte"))?;
        let names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let tensors: Vec<*const c_void> =
            constants.iter().map(|(_, tensor)| tensor.as_ptr().cast()).collect();
        // SAFETY: both arrays have `names.len()` elements that live during the call. The tensors' memory
        // lives as long as the package: they move into `self` below, whatever the outcome.
        let done = unsafe {
            pixio_package_give_constants(self.raw.as_ptr(), names.as_ptr(), tensors.as_ptr(), names.len())
        };
        self.constants.extend(constants.into_iter().map(|(_, tensor)| tensor));
        if !done {
            return Err(last_error());
        }
        self.is_ready = true;
        Ok(())
    }

    /// Runs on `input`, on the current stream of its device. The result is new tensors.
    ///
    /// # Errors
    /// An input that the signature does not allow, constants that are missing, or libtorch's own.
    pub fn run(&mut self, input: &Tensor) -> Result<Vec<Tensor>, ShimError> {
        // Without constants libtorch reads through a null pointer.
        if !self.is_ready {
            return Err(ShimError::new("the package was not given its constants"));
        }
        self.signature.check(input)?;
        let stream = match self.signature.device {
            Device::Cuda(index) => cuda::load()?.current_stream(index)?,
            _ => ptr::null_mut(),
        };
        let mut outputs = [ptr::null_mut(); MAX_OUTPUTS];
        let mut n_outputs = 0;
        // SAFETY: the package is open and has its constants, the input is what it was compiled for, and
        // `outputs` has room for as many tensors as we say.
        let done = unsafe {
            pixio_package_run(
                self.raw.as_ptr(),
                input.as_ptr().cast(),
                stream,
                outputs.as_mut_ptr(),
                outputs.len(),
                &raw mut n_outputs,
            )
        };
        if !done {
            return Err(last_error());
        }
        // SAFETY: these are tensors that nobody else owns.
        Ok(outputs.iter().take(n_outputs).map(|&tensor| unsafe { Tensor::from_ptr(tensor.cast()) }).collect())
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        // SAFETY: the package is open, and this is its only owner. The constants go after it.
        unsafe { pixio_package_close(self.raw.as_ptr()) };
    }
}

/// Version of libtorch, such as `2.11.0`: packages run on the one that they were compiled with.
pub fn torch_version() -> String {
    // SAFETY: a constant C string.
    unsafe { text(pixio_torch_version()) }
}

pub(super) fn last_error() -> ShimError {
    // SAFETY: a C string of this thread that lives until its next call.
    ShimError::new(unsafe { text(pixio_last_error()) })
}

unsafe extern "C" {
    fn pixio_last_error() -> *const c_char;
    fn pixio_torch_version() -> *const c_char;
    fn pixio_package_open(path: *const c_char, device_index: c_int) -> *mut c_void;
    fn pixio_package_close(package: *mut c_void);
    fn pixio_package_metadata(
        package: *mut c_void,
        each: unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char),
        context: *mut c_void,
    ) -> bool;
    fn pixio_package_constants(
        package: *mut c_void,
        each: unsafe extern "C" fn(*mut c_void, *const c_char),
        context: *mut c_void,
    ) -> bool;
    fn pixio_package_give_constants(
        package: *mut c_void,
        names: *const *const c_char,
        tensors: *const *const c_void,
        n: usize,
    ) -> bool;
    fn pixio_package_run(
        package: *mut c_void,
        input: *const c_void,
        stream: *mut c_void,
        outputs: *mut *mut c_void,
        capacity: usize,
        n_outputs: *mut usize,
    ) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_told_from_the_other() {
        let form = |channels_last| ConstantForm { kind: Kind::Float, shape: Vec::new(), channels_last };
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let (rows_first, matrix, single) = (zeros(&[4, 3, 2, 2]), zeros(&[4, 3]), zeros(&[4, 3, 1, 1]));
        let channels_last = zeros(&[4, 2, 2, 3]).permute([0, 3, 1, 2]);
        for (tensor, is_contiguous, is_channels_last) in [
            (&rows_first, true, false),
            (&channels_last, false, true),
            (&matrix, true, false),
            (&matrix.tr(), false, false),
            // Where there is one row and one column, both are the same.
            (&single, true, true),
        ] {
            assert_eq!(form(false).is_layout_of(tensor).unwrap(), is_contiguous, "{:?}", tensor.stride());
            assert_eq!(form(true).is_layout_of(tensor).unwrap(), is_channels_last, "{:?}", tensor.stride());
        }
    }
}
