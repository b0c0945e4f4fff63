//! Where the ends meet: what one kept of a block of frames, and the posteriors that come of it.

use std::ops::Range;

use fearless_simd::f64x8;
use fearless_simd::prelude::*;

use super::frames::Frames;
use super::recursion::square;
use super::{LANES, PAD};
use crate::error::Error;
use crate::input::resize;
use crate::simd::scaled::{BOTTOM, Scaled};

/// What arrived at blanks (0) and labels (1) in the frames of a block, seen from one end.
#[derive(Default)]
pub(super) struct Kept {
    stride: usize,
    // Not Aligned: half of the reads lie one place beside a line anyway, and to ask where memory begins costs 7 %.
    mantissas: [Vec<f64>; 2],
    exponents: [Vec<f64>; 2],
    /// Which row of exponents belongs to each column.
    pub(super) exponent_row: [usize; LANES],
    /// The tiles that each row was last written in: beside them it is empty.
    written: [Range<usize>; LANES],
}

impl Kept {
    pub(super) fn set(&mut self, columns: usize, tiles: usize) -> Result<(), Error> {
        self.stride = tiles * LANES + 2 * PAD;
        self.written = [const { 0..0 }; LANES];
        self.exponent_row = [0; LANES];
        for (rows, nothing) in [(&mut self.mantissas, 0.0), (&mut self.exponents, BOTTOM)] {
            for rows in rows {
                resize(rows, columns * self.stride, nothing)?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn place(&self, row: usize, tile: usize) -> usize {
        row * self.stride + PAD + tile * LANES
    }

    #[inline(always)]
    pub(super) fn keep<S: Simd>(&mut self, kind: usize, column: usize, tile: usize, numbers: f64x8<S>) {
        let at = self.place(column, tile);
        numbers.store_slice(&mut self.mantissas[kind][at..at + LANES]);
    }

    #[inline(always)]
    pub(super) fn keep_exponents<S: Simd>(&mut self, kind: usize, row: usize, tile: usize, numbers: f64x8<S>) {
        let at = self.place(row, tile);
        numbers.store_slice(&mut self.exponents[kind][at..at + LANES]);
    }

    /// What the other end kept of the same states: on the way back labels stand one place further than on the way forward.
    #[inline(always)]
    pub(super) fn mantissas<S: Simd>(&self, simd: S, kind: usize, column: usize, tile: usize, back: bool) -> f64x8<S> {
        let place = self.place(column, tile);
        let at = if back { place - kind } else { place + kind };
        f64x8::from_slice(simd, &self.mantissas[kind][at..at + LANES])
    }

    #[inline(always)]
    pub(super) fn exponents<S: Simd>(&self, simd: S, kind: usize, row: usize, tile: usize, back: bool) -> f64x8<S> {
        let place = self.place(row, tile);
        let at = if back { place - kind } else { place + kind };
        f64x8::from_slice(simd, &self.exponents[kind][at..at + LANES])
    }

    /// What the other end kept of the states of a tile.
    #[inline(always)]
    pub(super) fn state<S: Simd, const BACK: bool>(
        &self,
        simd: S,
        kind: usize,
        column: usize,
        tile: usize,
    ) -> Scaled<S> {
        Scaled {
            mantissa: self.mantissas(simd, kind, column, tile, BACK),
            exponent: self.exponents(simd, kind, self.exponent_row[column], tile, BACK),
        }
    }

    /// Makes the places beside `tiles` empty, where some were kept before.
    pub(super) fn clear_around(&mut self, columns: Range<usize>, tiles: &Range<usize>) {
        for column in columns {
            let Range { start, end } = std::mem::replace(&mut self.written[column], tiles.clone());
            for stale in [start..tiles.start.clamp(start, end), tiles.end.clamp(start, end)..end] {
                let places = self.place(column, stale.start)..self.place(column, stale.end);
                self.mantissas.iter_mut().for_each(|rows| rows[places.clone()].fill(0.0));
                self.exponents.iter_mut().for_each(|rows| rows[places.clone()].fill(BOTTOM));
            }
        }
    }
}

/// Posteriors of the classes in a block of frames.
#[derive(Default)]
pub(crate) struct Meeting {
    /// The probability of all paths, as mantissa and exponent.
    pub(super) total: (f64, f64),
    pub(super) over_total: f64,
    /// A row of eight frames for each slot.
    pub(super) posteriors: Vec<f64>,
    /// The same for the label at each place, where that is asked for.
    by_place: Vec<f64>,
    /// The same frame by frame, for each place, until they are added.
    aside: Vec<f64>,
    pub(super) aside_tiles: Range<usize>,
    /// The place of label 0.
    first_place: usize,
    /// Posteriors of stars in each frame.
    pub(super) stars: [f64; LANES],
}

impl Meeting {
    #[inline(always)]
    pub(super) fn add_labels<S: Simd>(&mut self, simd: S, slots: &[u32], tile: usize, rows: [f64x8<S>; LANES]) {
        for (lane, (row, &slot)) in rows.into_iter().zip(slots).enumerate() {
            let sums = &mut self.posteriors[slot as usize * LANES..][..LANES];
            (f64x8::from_slice(simd, &*sums) + row).store_slice(sums);
            if !self.by_place.is_empty() {
                let sums = &mut self.by_place[(tile * LANES + lane) * LANES..][..LANES];
                (f64x8::from_slice(simd, &*sums) + row).store_slice(sums);
            }
        }
    }

    /// Puts posteriors of a tile in one frame aside; they are added with those of the other frames of the block.
    #[inline(always)]
    pub(super) fn put_aside<S: Simd>(&mut self, tile: usize, column: usize, posteriors: f64x8<S>) {
        let Range { start, end } = self.aside_tiles;
        self.aside_tiles = if start < end { start.min(tile)..end.max(tile + 1) } else { tile..tile + 1 };
        posteriors.store_slice(&mut self.aside[(tile * LANES + column) * LANES..][..LANES]);
    }

    /// Room for the posteriors of a sequence; `first_place` is that of label 0.
    pub(super) fn set(
        &mut self,
        slots: usize,
        tiles: usize,
        is_by_place: bool,
        first_place: usize,
    ) -> Result<(), Error> {
        let places = tiles * LANES * LANES;
        let lengths = [(slots + 1) * LANES, places, if is_by_place { places } else { 0 }];
        for (numbers, length) in [&mut self.posteriors, &mut self.aside, &mut self.by_place].into_iter().zip(lengths) {
            resize(numbers, length, 0.0)?;
        }
        self.first_place = first_place;
        self.aside_tiles = 0..0;
        Ok(())
    }

    /// Adds what was put aside.
    #[inline(always)]
    pub(super) fn add_aside<S: Simd>(&mut self, simd: S, slots: &[u32]) {
        let mut aside = std::mem::take(&mut self.aside);
        for tile in std::mem::take(&mut self.aside_tiles) {
            let rows = &mut aside[tile * LANES * LANES..][..LANES * LANES];
            self.add_labels(simd, &slots[tile * LANES..][..LANES], tile, square(simd, rows));
            rows.fill(0.0);
        }
        self.aside = aside;
    }

    pub(super) fn clear(&mut self) {
        self.posteriors.fill(0.0);
        self.by_place.fill(0.0);
        self.stars = [0.0; LANES];
    }

    pub(super) fn clear_columns(&mut self, columns: &Range<usize>) {
        let rows = self.posteriors.chunks_exact_mut(LANES).chain(self.by_place.chunks_exact_mut(LANES));
        rows.for_each(|row| row[columns.clone()].fill(0.0));
        self.stars[columns.clone()].fill(0.0);
    }

    /// The blank has what labels and stars leave, because the posteriors of a frame sum to 1.
    #[inline(always)]
    pub(super) fn finish<S: Simd>(&mut self, simd: S, frames: &Frames) {
        let zero = f64x8::splat(simd, 0.0);
        let mut left = f64x8::splat(simd, 1.0) - f64x8::from_slice(simd, &self.stars);
        let classes = self.posteriors.len() - LANES;
        for row in self.posteriors[LANES..classes].chunks_exact(LANES) {
            left -= f64x8::from_slice(simd, row);
        }
        let is_possible =
            f64x8::from_slice(simd, &frames.logarithms[..LANES]).simd_gt(f64x8::splat(simd, f64::NEG_INFINITY));
        is_possible.select(left.max(zero), zero).store_slice(&mut self.posteriors[..LANES]);
        // Rounding may leave labels a little more than there is.
        if left.simd_lt(zero).any_true() {
            let factor = f64x8::splat(simd, 1.0) / (f64x8::splat(simd, 1.0) - left.min(zero));
            for row in self.posteriors[LANES..classes].chunks_exact_mut(LANES) {
                (f64x8::from_slice(simd, row) * factor).store_slice(row);
            }
        }
    }

    /// The posterior of stars in each frame of the block.
    pub(crate) fn stars(&self) -> &[f64; LANES] {
        &self.stars
    }

    /// The posterior of a label of the target in each frame of the block, where that was asked for.
    pub(crate) fn label(&self, index: usize) -> &[f64] {
        &self.by_place[(self.first_place + index) * LANES..][..LANES]
    }

    /// The posterior of a slot's class in each frame of the block.
    #[inline]
    pub(crate) fn row(&self, slot: usize) -> &[f64] {
        &self.posteriors[slot * LANES..][..LANES]
    }
}
