//! The numbers that arrays hold, and the numbers that kernels compute with.
//!
//! Kernels know two: f32 and f64 ([`Float`]). Arrays hold four ([`Element`]): float16 and bfloat16 are storage only, and
//! are widened to f32 on their way in, a row or a vector at a time, and rounded on their way out.

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f32x16, f64x8};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::simd::{Lanes, level};

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
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// What kernels compute with in its place.
    type Float: Float;
    /// Whether it is that number itself, so that rows need no scratch.
    const DIRECT: bool;
    /// Sixteen numbers of 32 bits and fewer, or eight of 64, as a vector that is computed with: what is narrower is widened
    /// on its way into the register, without a detour through memory.
    fn load<S: Simd>(simd: S, numbers: &[Self]) -> <Self::Float as Lanes>::Vector<S>;
    /// The row where its numbers have 16 bits.
    fn half(row: &[Self]) -> Option<Half<'_>>;
    /// A row as numbers of `F`, in place where it holds them already.
    fn view<'a, F: Float>(row: &'a [Self], scratch: &'a mut [F]) -> &'a [F];
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
pub trait HalfRow: Copy {
    /// Widens into `out`, which is as long as `row`.
    fn widen_f32(row: &[Self], out: &mut [f32]);
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

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[f32]) -> f32x16<S> {
        f32x16::from_slice(simd, numbers)
    }

    fn half(_: &[f32]) -> Option<Half<'_>> {
        None
    }

    fn view<'a, F: Float>(row: &'a [f32], scratch: &'a mut [F]) -> &'a [F] {
        F::view_f32(row, scratch)
    }

    fn fill(row: &mut [f32], _: &mut [f32], write: impl FnOnce(&mut [f32])) {
        write(row);
    }
}

impl Element for f64 {
    type Float = f64;
    const DIRECT: bool = true;

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[f64]) -> f64x8<S> {
        f64x8::from_slice(simd, numbers)
    }

    fn half(_: &[f64]) -> Option<Half<'_>> {
        None
    }

    fn view<'a, F: Float>(row: &'a [f64], scratch: &'a mut [F]) -> &'a [F] {
        F::view_f64(row, scratch)
    }

    fn fill(row: &mut [f64], _: &mut [f64], write: impl FnOnce(&mut [f64])) {
        write(row);
    }
}

impl Element for f16 {
    type Float = f32;
    const DIRECT: bool = false;

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[f16]) -> f32x16<S> {
        let mut wide = [0.0; 16];
        for (wide, narrow) in wide.iter_mut().zip(numbers) {
            *wide = widen_f16(*narrow);
        }
        f32x16::from_slice(simd, &wide)
    }

    fn half(row: &[f16]) -> Option<Half<'_>> {
        Some(Half::F16(row))
    }

    fn view<'a, F: Float>(row: &'a [f16], scratch: &'a mut [F]) -> &'a [F] {
        F::view_half(row, scratch)
    }

    fn fill(row: &mut [f16], scratch: &mut [f32], write: impl FnOnce(&mut [f32])) {
        let scratch = &mut scratch[..row.len()];
        write(scratch);
        row.convert_from_f32_slice(scratch);
    }
}

impl Element for bf16 {
    type Float = f32;
    const DIRECT: bool = false;

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[bf16]) -> f32x16<S> {
        let mut wide = [0.0; 16];
        for (wide, narrow) in wide.iter_mut().zip(numbers) {
            *wide = widen_bf16(*narrow);
        }
        f32x16::from_slice(simd, &wide)
    }

    fn half(row: &[bf16]) -> Option<Half<'_>> {
        Some(Half::Bf16(row))
    }

    fn view<'a, F: Float>(row: &'a [bf16], scratch: &'a mut [F]) -> &'a [F] {
        F::view_half(row, scratch)
    }

    fn fill(row: &mut [bf16], scratch: &mut [f32], write: impl FnOnce(&mut [f32])) {
        let scratch = &mut scratch[..row.len()];
        write(scratch);
        dispatch!(level(), simd => round_bf16_in(simd, scratch, row));
    }
}

impl HalfRow for f16 {
    fn widen_f32(row: &[f16], out: &mut [f32]) {
        dispatch!(level(), simd => widen_f16_in(simd, row, out));
    }

    fn widen_f64(row: &[f16], out: &mut [f64]) {
        row.convert_to_f64_slice(out);
    }
}

impl HalfRow for bf16 {
    fn widen_f32(row: &[bf16], out: &mut [f32]) {
        dispatch!(level(), simd => widen_bf16_in(simd, row, out));
    }

    fn widen_f64(row: &[bf16], out: &mut [f64]) {
        row.convert_to_f64_slice(out);
    }
}

/// float16 has the fraction of float32 at another place, and an exponent that is smaller by 112: of numbers without a hidden
/// bit too, which the product puts right. Without a branch, and so in vectors, as that of `half` is not.
#[inline(always)]
fn widen_f16(narrow: f16) -> f32 {
    // Sign, exponent and fraction where float32 has them; the exponent has three bits more.
    let bits = (i32::from(narrow.to_bits() as i16) << 13) as u32 & 0x8fff_e000;
    let two_to_the_112 = f32::from_bits(0x7780_0000);
    let infinite = if bits & 0x0f80_0000 == 0x0f80_0000 { 0x7f80_0000 } else { 0 };
    f32::from_bits((f32::from_bits(bits) * two_to_the_112).to_bits() | infinite)
}

/// bfloat16 is the upper half of float32.
#[inline(always)]
fn widen_bf16(narrow: bf16) -> f32 {
    f32::from_bits(u32::from(narrow.to_bits()) << 16)
}

#[inline(always)]
fn widen_f16_in<S: Simd>(_: S, row: &[f16], out: &mut [f32]) {
    for (wide, narrow) in out.iter_mut().zip(row) {
        *wide = widen_f16(*narrow);
    }
}

#[inline(always)]
fn widen_bf16_in<S: Simd>(_: S, row: &[bf16], out: &mut [f32]) {
    for (wide, narrow) in out.iter_mut().zip(row) {
        *wide = widen_bf16(*narrow);
    }
}

/// Rounds to the nearest, ties to even; a NaN stays one.
#[inline(always)]
fn round_bf16_in<S: Simd>(_: S, row: &[f32], out: &mut [bf16]) {
    for (narrow, wide) in out.iter_mut().zip(row) {
        let bits = wide.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
        let bits = if wide.is_nan() { bits | 0x40_0000 } else { rounded };
        *narrow = bf16::from_bits((bits >> 16) as u16);
    }
}

#[cfg(test)]
mod tests {
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
        f16::widen_f32(&all, &mut row);
        for ((&narrow, wide), in_row) in all.iter().zip(loaded(&all)).zip(row) {
            assert!(same(wide, narrow.to_f32()) && same(in_row, wide), "{narrow:?} is not {wide}");
        }
        let all: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        for (&narrow, wide) in all.iter().zip(loaded(&all)) {
            assert!(same(wide, narrow.to_f32()), "{narrow:?} is not {wide}");
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
