//! One of something for each kind of head.

use super::Head;

/// Something of the depth head and the same of the segmentation head, where there are such heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSet<T> {
    /// Of the depth head.
    pub depth: Option<T>,
    /// Of the segmentation head.
    pub segmentation: Option<T>,
}

// Derived, it would ask for a default of `T`.
impl<T> Default for HeadSet<T> {
    fn default() -> Self {
        Self { depth: None, segmentation: None }
    }
}

impl<T> HeadSet<T> {
    /// The heads that are there, depth first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.depth.iter().chain(&self.segmentation)
    }

    /// What `work` makes of each.
    ///
    /// # Errors
    /// The errors of `work`.
    pub fn try_map<U, E>(self, mut work: impl FnMut(T) -> Result<U, E>) -> Result<HeadSet<U>, E> {
        Ok(HeadSet {
            depth: self.depth.map(&mut work).transpose()?,
            segmentation: self.segmentation.map(work).transpose()?,
        })
    }
}

impl HeadSet<Head> {
    /// The same heads on the same memory.
    pub fn shallow_clone(&self) -> Self {
        Self {
            depth: self.depth.as_ref().map(Head::shallow_clone),
            segmentation: self.segmentation.as_ref().map(Head::shallow_clone),
        }
    }
}

impl<T> IntoIterator for HeadSet<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::option::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.depth.into_iter().chain(self.segmentation)
    }
}
