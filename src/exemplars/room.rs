//! Who leaves a store that is full: of a class that has too many exemplars, the older of the two that are most
//! alike, one after the other. So places that were seen long ago stay, and what was pointed at again and again
//! does not crowd them out: as docs/teaching.md has it, that is better than the oldest or a random one.

use tch::{Kind, TchError, Tensor};

use super::cosine::direction;

/// The largest share that each of `counts` can have, of which at most `per_class`, so that there are at most
/// `in_all` together.
pub(super) fn share(counts: &[usize], per_class: usize, in_all: usize) -> usize {
    let total = |share: usize| counts.iter().map(|&n| n.min(share)).sum::<usize>();
    let mut share = per_class.min(counts.iter().copied().max().unwrap_or_default());
    while in_all < total(share) {
        share -= 1;
    }
    share.max(1)
}

/// Which of the standardised exemplars `inputs` `[N, C]` of a class, the oldest first, stay, so that `n_most`
/// do: their rows, ascending.
///
/// # Errors
/// libtorch's own.
pub(super) fn staying(inputs: &Tensor, n_most: usize) -> Result<Vec<usize>, TchError> {
    let n = usize::try_from(inputs.size()[0]).unwrap_or_default();
    let directions = direction(inputs)?;
    let mut kept: Vec<usize> = (0..n.min(n_most)).collect();
    // A few at a time: the cosines of a whole stroke with itself would be many.
    for first in (kept.len()..n).step_by(n_most.max(1)) {
        kept.extend(first..n.min(first + n_most));
        let rows = Tensor::f_from_slice(&kept.iter().map(|&row| row as i64).collect::<Vec<_>>())?;
        let chosen = directions.f_index_select(0, &rows)?;
        let cosines = chosen.f_matmul(&chosen.f_tr()?)?.f_to_kind(Kind::Float)?;
        let stays = thinned(&Vec::<f32>::try_from(cosines.f_flatten(0, -1)?)?, kept.len(), n_most);
        kept = kept.into_iter().zip(stays).filter(|(_, stays)| *stays).map(|(row, _)| row).collect();
    }
    Ok(kept)
}

/// Whether each of `n` exemplars with these `cosines` `[n, n]` stays, so that `n_most` do.
fn thinned(cosines: &[f32], n: usize, n_most: usize) -> Vec<bool> {
    let mut stays = vec![true; n];
    // Of each, the younger one that is most like it.
    let nearest = |row: usize, stays: &[bool]| {
        let younger =
            (row + 1..n).filter(|&other| stays[other]).map(|other| (other, cosines[row * n + other]));
        younger.max_by(|one, other| one.1.total_cmp(&other.1))
    };
    let mut partners: Vec<_> = (0..n).map(|row| nearest(row, &stays)).collect();
    for _ in n_most..n {
        let alike = |row: usize| partners[row].map_or(f32::NEG_INFINITY, |(_, cosine)| cosine);
        let leaving =
            (0..n).filter(|&row| stays[row]).max_by(|&one, &other| alike(one).total_cmp(&alike(other)));
        let Some(leaving) = leaving else { break };
        stays[leaving] = false;
        for row in 0..leaving {
            if stays[row] && partners[row].is_some_and(|(partner, _)| partner == leaving) {
                partners[row] = nearest(row, &stays);
            }
        }
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &[[f32; 2]], n_most: usize, expect: &[usize]) {
        let inputs = Tensor::from_slice(rows.as_flattened()).reshape([-1, 2]);
        assert_eq!(staying(&inputs, n_most).unwrap(), expect, "{rows:?}");
    }

    #[test]
    fn of_two_that_are_alike_the_older_one_leaves() {
        let (east, north, west) = ([1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]);
        check(&[east, north, west], 3, &[0, 1, 2]);
        check(&[east, north, [5.0, 0.1], west], 3, &[1, 2, 3]);
        check(&[east, north, [5.0, 0.1], west, [5.0, 0.0], [0.1, 2.0]], 3, &[3, 4, 5]);
        check(&[east, east, east, east], 1, &[3]);
        // More than twice as many as may stay.
        check(&[north, east, east, west, east, east, east, north], 3, &[3, 6, 7]);
    }

    #[test]
    fn classes_share_the_room_alike() {
        assert_eq!(share(&[5, 0, 100], 10, 1000), 10);
        assert_eq!(share(&[5, 0, 100], 1000, 1000), 100);
        assert_eq!(share(&[5, 0, 100], 1000, 65), 60);
        assert_eq!(share(&[50, 50, 50], 1000, 100), 33);
        assert_eq!(share(&[3, 3, 3], 10, 2), 1);
        assert_eq!(share(&[], 10, 2), 1);
    }
}
