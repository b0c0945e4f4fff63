//! Greedy decoding: the best class of every frame (Graves et al., 2006, section 3.2).

use fearless_simd::dispatch;
use fearless_simd::prelude::*;

use super::{Alignment, Frames, Normal, push, repeated};
use crate::error::Error;
use crate::float::{Element, Float};
use crate::input::{Sequences, reserve, zeros};
use crate::losses::Scores;
use crate::parallel::{Watch, for_each};
use crate::simd::{level, rows};

/// The labels of every sequence: the class with the largest score in each frame (the first of equals; a NaN counts as the
/// least), repeats merged, blanks dropped.
pub fn greedy<E: Element>(
    sequences: &Sequences<'_, E>,
    blank: usize,
    work: usize,
    watch: &Watch<'_>,
) -> Result<Vec<Vec<i64>>, Error> {
    let mut decoded = repeated(vec![], sequences.len())?;
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
                let row = E::view(rows.row(t), scratch);
                let best = dispatch!(level(), simd => best_in(simd, row));
                if best != blank && best != before {
                    push(labels, best as i64)?;
                }
                before = best;
            }
            Ok(())
        },
    )?;
    Ok(decoded)
}

/// The same path with the class of every frame, its spans and its probability.
pub fn greedy_alignment<E: Element>(
    sequences: &Sequences<'_, E>,
    blank: usize,
    scores: Scores,
    work: usize,
    watch: &Watch<'_>,
) -> Result<Vec<Alignment>, Error> {
    let mut found = repeated(Alignment::none(0.0), sequences.len())?;
    let items = sequences.rows.iter().zip(&mut found);
    for_each(
        items,
        work,
        watch,
        || zeros::<E::Float>(sequences.width),
        |(rows, found), scratch, ticker| {
            let (mut labels, mut frames) = (reserve(rows.count())?, Frames::with_room(rows.count())?);
            for t in 0..rows.count() {
                ticker.tick(2 * rows.width())?;
                let row = E::view(rows.row(t), scratch);
                let (class, normal) = dispatch!(level(), simd => (best_in(simd, row), Normal::of(simd, scores, row)));
                labels.push(class);
                frames.push(row[class].to_f64(), normal);
            }
            *found = Alignment::new(labels, blank, scores, &mut frames)?;
            Ok(())
        },
    )?;
    Ok(found)
}

/// The class with the largest score: the first of equals; a NaN counts as the least.
#[inline(always)]
fn best_in<F: Float, S: Simd>(simd: S, row: &[F]) -> usize {
    let least = F::Vector::<S>::splat(simd, F::NEGATIVE_INFINITY);
    let (mut largest, mut chunks) = (least, row.chunks_exact(F::LANES));
    for chunk in &mut chunks {
        let x = F::Vector::<S>::from_slice(simd, chunk);
        largest = largest.max(x.simd_eq(x).select(x, least));
    }
    let x = rows::tail(simd, chunks.remainder(), F::NEGATIVE_INFINITY);
    let largest = largest.max(x.simd_eq(x).select(x, least)).reduce_max();
    // Of nothing but NaN, it is the first.
    rows::position_in(simd, row, largest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::with_sequence;
    use super::*;

    #[test]
    fn repeats_are_merged_and_blanks_dropped() {
        let path = [1, 1, 0, 1, 2, 2, 0, 0, 2];
        let scores: Vec<f64> =
            path.iter().flat_map(|&best| (0..3).map(move |class| f64::from(class == best))).collect();
        with_sequence(&scores, 3, |sequences| {
            assert_eq!(greedy(sequences, 0, 0, &Watch::never()).unwrap(), [vec![1, 1, 2, 2]]);
            let [found] = &greedy_alignment(sequences, 0, Scores::Logits, 0, &Watch::never()).unwrap()[..] else {
                unreachable!("one sequence")
            };
            assert_eq!(found.labels, path);
            assert_eq!(found.spans.iter().map(|span| span.label).collect::<Vec<_>>(), [1, 1, 2, 2]);
            let probability = 1f64.exp() / (1f64.exp() + 2.0);
            assert!(found.spans.iter().all(|span| (span.score - probability).abs() < 1e-15));
            assert!((found.score - 9.0 * probability.ln()).abs() < 1e-14);
        });
    }

    fn best(scores: &[f64]) -> usize {
        dispatch!(level(), simd => best_in(simd, scores))
    }

    #[test]
    fn the_first_of_equals_and_nan_last() {
        assert_eq!(best(&[1.0, 2.0, 2.0]), 1);
        assert_eq!(best(&[f64::NAN, 1.0, f64::NAN]), 1);
        assert_eq!(best(&[f64::NEG_INFINITY, f64::NEG_INFINITY]), 0);
        assert_eq!(best(&[f64::NAN, f64::NEG_INFINITY]), 1);
        assert_eq!(best(&[f64::NAN; 20]), 0);
    }

    #[test]
    fn rows_of_every_length() {
        for length in 1..70 {
            for place in 0..length {
                let mut scores: Vec<f64> = (0..length).map(|i| -((i * 7 % 11) as f64)).collect();
                scores[(place + 3) % length] = f64::NAN;
                scores[place] = 1.0;
                assert_eq!(best(&scores), place);
                if place + 1 < length {
                    scores[place + 1] = 1.0;
                    assert_eq!(best(&scores), place);
                }
            }
        }
    }
}
