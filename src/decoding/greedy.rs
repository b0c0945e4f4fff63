//! Greedy decoding: the best class of every frame.

use crate::error::Error;
use crate::float::Element;
use crate::input::{Sequences, zeros};
use crate::parallel::{Watch, for_each};

/// The best path of every sequence: the class with the largest score in each frame (the first of equals; a NaN counts as
/// the least), repeats merged, blanks dropped.
pub fn greedy<E: Element>(
    sequences: &Sequences<'_, E>,
    blank: usize,
    work: usize,
    watch: &Watch<'_>,
) -> Result<Vec<Vec<i64>>, Error> {
    let mut decoded = vec![vec![]; sequences.len()];
    let items = sequences.rows.iter().zip(&mut decoded);
    for_each(
        items,
        work,
        watch,
        || zeros::<E::Float>(sequences.width),
        |(rows, labels), scratch, ticker| {
            let mut before = blank;
            for t in 0..rows.count() {
                ticker.tick(rows.width())?;
                let best = best(E::view(rows.row(t), scratch));
                if best != blank && best != before {
                    labels.push(best as i64);
                }
                before = best;
            }
            Ok(())
        },
    )?;
    Ok(decoded)
}

fn best<F: PartialOrd + Copy>(scores: &[F]) -> usize {
    let mut best = 0;
    for (class, score) in scores.iter().enumerate() {
        // False where either is NaN, unless it is the one held so far.
        if *score > scores[best] || scores[best].partial_cmp(&scores[best]).is_none() {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Argument, Axes, View};

    #[test]
    fn repeats_are_merged_and_blanks_dropped() {
        let path = [1, 1, 0, 1, 2, 2, 0, 0, 2];
        let scores: Vec<f32> =
            path.iter().flat_map(|&best| (0..3).map(move |class| f32::from(class == best))).collect();
        let view = View::contiguous(&scores, vec![path.len(), 3]).unwrap();
        let sequences = Sequences::new("logits", &Argument::Array(view), Axes::StepsOfRows, false).unwrap();
        assert_eq!(greedy(&sequences, 0, 0, &Watch::never()).unwrap(), [vec![1, 1, 2, 2]]);
    }

    #[test]
    fn the_first_of_equals_and_nan_last() {
        assert_eq!(best(&[1.0, 2.0, 2.0]), 1);
        assert_eq!(best(&[f64::NAN, 1.0, f64::NAN]), 1);
        assert_eq!(best(&[f64::NEG_INFINITY, f64::NEG_INFINITY]), 0);
    }
}
