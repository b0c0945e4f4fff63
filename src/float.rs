//! The numbers that arrays hold, and the numbers that kernels compute with.
//!
//! Kernels know two: f32 and f64 ([`Float`]). Arrays hold four ([`Element`]): float16 and bfloat16 are storage only, and
//! are widened to f32 on their way in, a row or a vector at a time, and rounded on their way out.

use fearless_simd::dispatch;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::simd::{self, Lanes, Stored, level, round_in, widen_in};

/// A number that kernels compute with.
pub trait Float: Lanes + Element<Float = Self> + bytemuck::Zeroable {
    /// Rounds to this width.
    fn from_f64(value: f64) -> Self {
        Self::rounded(value)
    }
    /// Widens, exactly.
    fn to_f64(self) -> f64 {
        self.exact()
    }
    /// The same numbers as numbers of this width: `row` itself where it is, else converted into `scratch`.
    fn view_f32<'a>(row: &'a [f32], scratch: &'a mut [Self]) -> &'a [Self];
    /// The same for a row of f64.
    fn view_f64<'a>(row: &'a [f64], scratch: &'a mut [Self]) -> &'a [Self];
    /// The same for a row of float16 or bfloat16.
    fn view_half<'a, H: HalfRow>(row: &'a [H], scratch: &'a mut [Self]) -> &'a [Self];
}

/// A number that an array holds.
pub trait Element: Stored<Wide = <Self as Element>::Float> {
    /// What kernels compute with in its place.
    type Float: Float;
    /// Whether it is that number itself, so that rows need no scratch.
    const DIRECT: bool;
    /// The row where its numbers have 16 bits.
    fn half(row: &[Self]) -> Option<Half<'_>>;
    /// A row as numbers of `F`, in place where it holds them already.
    fn view<'a, F: Float>(row: &'a [Self], scratch: &'a mut [F]) -> &'a [F];
    /// Writes numbers to a row that is as long, rounded where it is narrower.
    fn put(row: &mut [Self], numbers: &[Self::Float]);
    /// Lets `write` fill the row, through `scratch` where the row is narrower.
    fn fill(row: &mut [Self], scratch: &mut [Self::Float], write: impl FnOnce(&mut [Self::Float]));
}

/// A row of numbers of 16 bits, of either kind.
#[derive(Debug, Clone, Copy)]
pub enum Half<'a> {
    /// float16
    F16(&'a [f16]),
    /// bfloat16
    Bf16(&'a [bf16]),
}

/// Rows of 16-bit numbers.
pub trait HalfRow: simd::Half {
    /// Widens into `out`, which is as long as `row`.
    fn widen_f32(row: &[Self], out: &mut [f32]) {
        dispatch!(level(), simd => widen_in(simd, row, out));
    }
    /// The same to f64.
    fn widen_f64(row: &[Self], out: &mut [f64]);
}

impl Float for f32 {
    fn view_f32<'a>(row: &'a [f32], _: &'a mut [f32]) -> &'a [f32] {
        row
    }

    fn view_f64<'a>(row: &'a [f64], scratch: &'a mut [f32]) -> &'a [f32] {
        let scratch = &mut scratch[..row.len()];
        for (narrow, wide) in scratch.iter_mut().zip(row) {
            *narrow = *wide as f32;
        }
        scratch
    }

    fn view_half<'a, H: HalfRow>(row: &'a [H], scratch: &'a mut [f32]) -> &'a [f32] {
        let scratch = &mut scratch[..row.len()];
        H::widen_f32(row, scratch);
        scratch
    }
}

impl Float for f64 {
    fn view_f32<'a>(row: &'a [f32], scratch: &'a mut [f64]) -> &'a [f64] {
        let scratch = &mut scratch[..row.len()];
        for (wide, narrow) in scratch.iter_mut().zip(row) {
            *wide = f64::from(*narrow);
        }
        scratch
    }

    fn view_f64<'a>(row: &'a [f64], _: &'a mut [f64]) -> &'a [f64] {
        row
    }

    fn view_half<'a, H: HalfRow>(row: &'a [H], scratch: &'a mut [f64]) -> &'a [f64] {
        let scratch = &mut scratch[..row.len()];
        H::widen_f64(row, scratch);
        scratch
    }
}

impl Element for f32 {
    type Float = f32;
    const DIRECT: bool = true;

    fn half(_: &[f32]) -> Option<Half<'_>> {
        None
    }

    fn view<'a, F: Float>(row: &'a [f32], scratch: &'a mut [F]) -> &'a [F] {
        F::view_f32(row, scratch)
    }

    fn put(row: &mut [f32], numbers: &[f32]) {
        row.copy_from_slice(numbers);
    }

    fn fill(row: &mut [f32], _: &mut [f32], write: impl FnOnce(&mut [f32])) {
        write(row);
    }
}

impl Element for f64 {
    type Float = f64;
    const DIRECT: bool = true;

    fn half(_: &[f64]) -> Option<Half<'_>> {
        None
    }

    fn view<'a, F: Float>(row: &'a [f64], scratch: &'a mut [F]) -> &'a [F] {
        F::view_f64(row, scratch)
    }

    fn put(row: &mut [f64], numbers: &[f64]) {
        row.copy_from_slice(numbers);
    }

    fn fill(row: &mut [f64], _: &mut [f64], write: impl FnOnce(&mut [f64])) {
        write(row);
    }
}

impl Element for f16 {
    type Float = f32;
    const DIRECT: bool = false;

    fn half(row: &[f16]) -> Option<Half<'_>> {
        Some(Half::F16(row))
    }

    fn view<'a, F: Float>(row: &'a [f16], scratch: &'a mut [F]) -> &'a [F] {
        F::view_half(row, scratch)
    }

    fn put(row: &mut [f16], numbers: &[f32]) {
        dispatch!(level(), simd => round_in(simd, numbers, row));
    }

    fn fill(row: &mut [f16], scratch: &mut [f32], write: impl FnOnce(&mut [f32])) {
        let scratch = &mut scratch[..row.len()];
        write(scratch);
        Self::put(row, scratch);
    }
}

impl Element for bf16 {
    type Float = f32;
    const DIRECT: bool = false;

    fn half(row: &[bf16]) -> Option<Half<'_>> {
        Some(Half::Bf16(row))
    }

    fn view<'a, F: Float>(row: &'a [bf16], scratch: &'a mut [F]) -> &'a [F] {
        F::view_half(row, scratch)
    }

    fn put(row: &mut [bf16], numbers: &[f32]) {
        dispatch!(level(), simd => round_in(simd, numbers, row));
    }

    fn fill(row: &mut [bf16], scratch: &mut [f32], write: impl FnOnce(&mut [f32])) {
        let scratch = &mut scratch[..row.len()];
        write(scratch);
        Self::put(row, scratch);
    }
}

impl HalfRow for f16 {
    fn widen_f64(row: &[f16], out: &mut [f64]) {
        row.convert_to_f64_slice(out);
    }
}

impl HalfRow for bf16 {
    fn widen_f64(row: &[bf16], out: &mut [f64]) {
        row.convert_to_f64_slice(out);
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::prelude::*;

    use super::*;

    /// All numbers of a kind, through vectors.
    fn loaded<E: Element<Float = f32>>(all: &[E]) -> Vec<f32> {
        let mut wide = vec![0.0; all.len()];
        for (wide, narrow) in wide.chunks_exact_mut(16).zip(all.chunks_exact(16)) {
            dispatch!(level(), simd => E::load(simd, narrow).store_slice(wide));
        }
        wide
    }

    #[test]
    fn vectors_of_16_bits_are_widened_as_by_the_crate() {
        let same = |wide: f32, truth: f32| wide.to_bits() == truth.to_bits() || (wide.is_nan() && truth.is_nan());
        let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let mut row = vec![0.0; all.len()];
        // A part that is no whole number of vectors.
        let (first, rest) = row.split_at_mut(1003);
        f16::widen_f32(&all[..1003], first);
        f16::widen_f32(&all[1003..], rest);
        for ((&narrow, wide), in_row) in all.iter().zip(loaded(&all)).zip(row) {
            assert!(same(wide, narrow.to_f32()) && same(in_row, wide), "{narrow:?} is not {wide}");
        }
        let all: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        for (&narrow, wide) in all.iter().zip(loaded(&all)) {
            assert!(same(wide, narrow.to_f32()), "{narrow:?} is not {wide}");
        }
    }

    #[test]
    fn float16_is_rounded_as_by_the_crate() {
        let mut numbers: Vec<f32> = (0..1 << 20).map(|i: u32| f32::from_bits(i.wrapping_mul(4099))).collect();
        for bits in 0..=u16::MAX {
            // Each number, halfway to the next, and what lies beside.
            let exact = f16::from_bits(bits).to_f32().to_bits();
            let next = f16::from_bits(bits.wrapping_add(1)).to_f32();
            let halfway = f32::midpoint(f32::from_bits(exact), next).to_bits();
            let near = [exact, halfway].map(|bits| [bits.wrapping_sub(1), bits, bits.wrapping_add(1)]);
            numbers.extend(near.as_flattened().iter().copied().map(f32::from_bits));
        }
        // What is too large: 65520 is halfway from the largest number to infinity.
        numbers.extend([65519.996, 65520.0, 65536.0, -65520.0, 1e30, f32::MAX, f32::INFINITY, f32::NEG_INFINITY]);
        let mut narrow = vec![f16::ZERO; numbers.len()];
        let mut scratch = vec![0.0f32; numbers.len()];
        f16::fill(&mut narrow, &mut scratch, |out| out.copy_from_slice(&numbers));
        for (&narrow, &wide) in narrow.iter().zip(&numbers) {
            let truth = f16::from_f32(wide);
            assert!(narrow.to_bits() == truth.to_bits(), "{wide:e}: {narrow:?}, not {truth:?}");
        }
    }

    #[test]
    fn bfloat16_is_converted_as_by_the_crate() {
        let all: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        let mut wide = vec![0.0f32; all.len()];
        bf16::widen_f32(&all, &mut wide);
        for (&narrow, &wide) in all.iter().zip(&wide) {
            assert!(wide.to_bits() == narrow.to_f32().to_bits() || (wide.is_nan() && narrow.is_nan()));
        }
        let numbers: Vec<f32> = (0..1 << 20).map(|i: u32| f32::from_bits(i.wrapping_mul(4099))).collect();
        let mut narrow = vec![bf16::ZERO; numbers.len()];
        let mut scratch = vec![0.0f32; numbers.len()];
        bf16::fill(&mut narrow, &mut scratch, |out| out.copy_from_slice(&numbers));
        for (&narrow, &wide) in narrow.iter().zip(&numbers) {
            assert!(narrow.to_bits() == bf16::from_f32(wide).to_bits(), "{wide}");
        }
    }
}
