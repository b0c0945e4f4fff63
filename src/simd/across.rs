//! Eight short rows at once, laid across: what is a row becomes a lane, so that nothing is folded and nothing is left over
//! at a row's end.
//!
//! Row by row, rows of 32 took 38 ns each, most of it for reductions and their latencies.

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x8};

use super::rows::{exp_in_place_in, exp_into_in, exp_lanes_in, lanes_in, maximum_in, scale_in};
use super::{Lanes, elementary, level, math};

/// How many rows are taken at once.
pub const ROWS: usize = 8;

/// Whether rows of this width are taken [`ROWS`] at once: what is done once for a row would cost as much as the row itself.
#[inline]
pub fn is_short<T: Lanes>(width: usize) -> bool {
    width <= 8 * T::LANES
}

/// How many numbers [`surprises`] needs to work with.
pub fn scratch_length(width: usize) -> usize {
    columns_length(width) + padded_length(width)
}

/// −ln p of a class of each of up to [`ROWS`] rows that lie one after another.
pub fn surprises<T: Lanes>(rows: &[T], width: usize, classes: &[usize], scratch: &mut [T]) -> [f64; ROWS] {
    dispatch!(level(), simd => surprises_in::<T, _, false>(simd, rows, width, classes, &[], scratch, &mut []))
}

/// The same, and `out` receives rate (p − 1) for the class of a row, and rate p for the others.
pub fn surprises_into<T: Lanes>(
    rows: &[T],
    width: usize,
    classes: &[usize],
    rates: &[f64],
    scratch: &mut [T],
    out: &mut [T],
) -> [f64; ROWS] {
    dispatch!(level(), simd => surprises_in::<T, _, true>(simd, rows, width, classes, rates, scratch, out))
}

#[inline(always)]
fn surprises_in<T: Lanes, S: Simd, const KEEPS: bool>(
    simd: S,
    rows: &[T],
    width: usize,
    classes: &[usize],
    rates: &[f64],
    scratch: &mut [T],
    out: &mut [T],
) -> [f64; ROWS] {
    let (columns, padded) = scratch.split_at_mut(columns_length(width));
    let (is_alone, is_whole) = (classes.len() == 1, rows.len() == ROWS * width && width >= 8);
    let (largest, sums) = if is_alone {
        softmax_of_one(simd, rows, columns)
    } else {
        if is_whole {
            lay_across(simd, rows, width, columns);
        } else {
            padded[..rows.len()].copy_from_slice(rows);
            lay_across(simd, padded, width, columns);
        }
        // The exponentials take two columns of eight at a time.
        let even = ROWS * width.next_multiple_of(2);
        columns[ROWS * width..even].fill(T::NEGATIVE_INFINITY);
        softmax_of_columns::<T, S, KEEPS>(simd, &mut columns[..even])
    };
    let mut distances = [0.0; ROWS];
    for (i, (distance, &class)) in distances.iter_mut().zip(classes).enumerate() {
        *distance = T::exact(largest[i]) - T::exact(rows[i * width + class]);
    }
    let (distances, sums) = (f64x8::from_slice(simd, &distances), f64x8::from_slice(simd, &sums));
    let surprises = (distances + elementary::ln(simd, sums)).to_array();
    if KEEPS {
        let mut all = [0.0; ROWS];
        all[..rates.len()].copy_from_slice(rates);
        let rates = f64x8::from_slice(simd, &all);
        let factors = (rates / sums).to_array();
        if is_alone {
            scale_in(simd, &mut columns[..width], T::rounded(factors[0]));
            out.copy_from_slice(&columns[..width]);
        } else {
            scale_columns(simd, &mut columns[..ROWS * width.next_multiple_of(8)], factors);
            if is_whole {
                lay_back(simd, columns, width, out);
            } else {
                lay_back(simd, columns, width, padded);
                out.copy_from_slice(&padded[..out.len()]);
            }
        }
        // What the others leave is a difference in float64, not 1 less what is rounded already.
        let rest = (sums - math::exp_f64x8(simd, -distances)) / sums;
        let own = (-rates * rest).to_array();
        for (i, (&own, &class)) in own.iter().zip(classes).enumerate() {
            out[i * width + class] = T::rounded(own);
        }
    }
    surprises
}

/// Columns come eight at a time.
const fn columns_length(width: usize) -> usize {
    ROWS * width.next_multiple_of(8)
}

/// Rows that lie one after another, where eight numbers can be read or written from the last place of a row of fewer.
const fn padded_length(width: usize) -> usize {
    ROWS * width + 8
}

/// Lays eight rows across; they follow one another. Of a width that is no multiple of eight the last eight columns begin
/// earlier; rows of fewer than eight are followed by eight numbers more, and what is read beyond a row is left over.
#[inline(always)]
pub(crate) fn lay_across<T: Lanes, S: Simd>(simd: S, rows: &[T], width: usize, columns: &mut [T]) {
    for at in (0..width).step_by(8) {
        let at = at.min(width.saturating_sub(8));
        T::transpose(simd, &rows[at..], width, &mut columns[ROWS * at..], ROWS);
    }
}

/// The way back. What is written beyond a row of fewer than eight is written over by the next.
#[inline(always)]
fn lay_back<T: Lanes, S: Simd>(simd: S, columns: &[T], width: usize, rows: &mut [T]) {
    for at in (0..width).step_by(8) {
        let at = at.min(width.saturating_sub(8));
        T::transpose(simd, &columns[ROWS * at..], ROWS, &mut rows[at..], width);
    }
}

/// The largest number of each of eight rows that lie across, and Σ exp(x − largest). There must be an even number of
/// columns. The exponentials take their place if they are kept.
#[inline(always)]
pub(crate) fn softmax_of_columns<T: Lanes, S: Simd, const KEEPS: bool>(
    simd: S,
    columns: &mut [T],
) -> ([T; ROWS], [f64; ROWS]) {
    // Four chains, because a maximum takes four cycles and one can start in each half.
    let mut chains = [T::Vector::<S>::splat(simd, T::NEGATIVE_INFINITY); 4];
    let mut groups = columns.chunks_exact(4 * T::LANES);
    for group in &mut groups {
        for (chain, column) in chains.iter_mut().zip(group.chunks_exact(T::LANES)) {
            *chain = chain.max(T::Vector::<S>::from_slice(simd, column));
        }
    }
    for (chain, column) in chains.iter_mut().zip(groups.remainder().chunks_exact(T::LANES)) {
        *chain = chain.max(T::Vector::<S>::from_slice(simd, column));
    }
    let largest = chains[0].max(chains[1]).max(chains[2].max(chains[3]));
    let mut first = [T::NEGATIVE_INFINITY; ROWS];
    for column in largest.as_slice().chunks_exact(ROWS) {
        for (first, &value) in first.iter_mut().zip(column) {
            *first = if value > *first { value } else { *first };
        }
    }
    let shift = T::repeated(simd, &first);
    let sum = if KEEPS {
        exp_in_place_in(simd, columns, shift);
        lanes_in(simd, columns)
    } else {
        exp_lanes_in(simd, columns, shift)
    };
    (first, T::columns::<S>(sum))
}

/// The largest number of a row, and Σ exp(x − largest), added up as that of a row that lies across, and both eight times.
/// The exponentials are written.
#[inline(always)]
fn softmax_of_one<T: Lanes, S: Simd>(simd: S, row: &[T], powers: &mut [T]) -> ([T; ROWS], [f64; ROWS]) {
    let largest = maximum_in(simd, row);
    let shift = T::Vector::<S>::splat(simd, largest);
    exp_into_in(simd, row, shift, &mut powers[..row.len()]);
    // As many columns of eight as go into a vector have a sum each.
    let mut sums = [0.0; 2];
    for together in powers[..row.len()].chunks(T::LANES / ROWS) {
        for (sum, e) in sums.iter_mut().zip(together) {
            *sum += e.exact();
        }
    }
    ([largest; ROWS], [sums[0] + sums[1]; ROWS])
}

/// Multiplies eight rows that lie across, each by a factor of its own.
#[inline(always)]
fn scale_columns<T: Lanes, S: Simd>(simd: S, columns: &mut [T], factors: [f64; ROWS]) {
    let factors = T::repeated(simd, &factors.map(T::rounded));
    for column in columns.chunks_exact_mut(T::LANES) {
        (T::Vector::<S>::from_slice(simd, column) * factors).store_slice(column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::rows::{exp_sum, maximum};

    /// Numbers of no pattern in −6 to 6.
    fn number(i: usize) -> f32 {
        ((i * 7919) % 1201) as f32 / 100.0 - 6.0
    }

    #[test]
    fn eight_rows_lie_across_and_back() {
        #[inline(always)]
        fn check<T: Lanes + PartialEq + std::fmt::Debug>(number: impl Fn(usize) -> T) {
            for width in 1..40 {
                let mut rows: Vec<T> = (0..8 * width + 8).map(&number).collect();
                let mut columns = vec![T::default(); columns_length(width)];
                dispatch!(level(), simd => lay_across(simd, &rows, width, &mut columns));
                for (i, &value) in columns[..8 * width].iter().enumerate() {
                    assert_eq!(value, number(i % 8 * width + i / 8));
                }
                let before = rows.clone();
                rows.fill(T::default());
                dispatch!(level(), simd => lay_back(simd, &columns, width, &mut rows));
                assert_eq!(rows[..8 * width], before[..8 * width]);
            }
        }
        check(|i| i as f32);
        check(|i| i as f64);
    }

    #[test]
    fn columns_are_rows_that_lie_across() {
        let height = 10;
        let mut columns: Vec<f32> = (0..8 * height).map(number).collect();
        let before = columns.clone();
        let found = dispatch!(level(), simd => softmax_of_columns::<_, _, false>(simd, &mut columns));
        assert_eq!(columns, before);
        assert_eq!(dispatch!(level(), simd => softmax_of_columns::<_, _, true>(simd, &mut columns)), found);
        for column in 0..8 {
            let row: Vec<f32> = (0..height).map(|i| before[8 * i + column]).collect();
            let largest = maximum(&row);
            assert_eq!(found.0[column], largest);
            assert!((found.1[column] / exp_sum(&row, largest) - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn short_rows_of_every_width_and_number() {
        for (width, count) in (1..70).flat_map(|width| [(width, 8), (width, 5), (width, 1)]) {
            let rows: Vec<f32> = (0..count * width).map(|i| 2.0 * number(i + width)).collect();
            let classes: Vec<usize> = (0..count).map(|i| i * 7 % width).collect();
            let rates = &[1.0, -0.5, 2.0, 0.0, 3.0, 1.0, 1.0, -4.0][..count];
            let mut scratch = vec![0.0; scratch_length(width)];
            let mut out = vec![0.0; count * width];
            let found = surprises_into(&rows, width, &classes, rates, &mut scratch, &mut out);
            assert_eq!(found[..count], surprises(&rows, width, &classes, &mut scratch)[..count]);
            for (i, &class) in classes.iter().enumerate() {
                let row = &rows[i * width..][..width];
                let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
                assert!((found[i] - (sum.ln() - f64::from(row[class]))).abs() < 1e-6);
                for (j, (&x, &slope)) in row.iter().zip(&out[i * width..]).enumerate() {
                    let truth = rates[i] * (f64::from(x).exp() / sum - f64::from(u8::from(j == class)));
                    assert!((f64::from(slope) - truth).abs() < 5e-7);
                }
                // A row has the same bits wherever it stands.
                let alone = surprises(row, width, &[class], &mut scratch)[0];
                assert_eq!(alone.to_bits(), found[i].to_bits());
                let mut slopes = vec![0.0; width];
                surprises_into(row, width, &[class], &rates[i..=i], &mut scratch, &mut slopes);
                assert_eq!(slopes, out[i * width..][..width]);
            }
        }
    }
}
