//! The numbers that arrays hold, and the numbers that kernels compute with.
//!
//! Kernels know two: f32 and f64 ([`Float`]). Arrays hold four ([`Element`]): float16 and bfloat16 are storage only, and
//! are widened to f32 row by row on their way in and rounded on their way out.

use fearless_simd::{Simd, dispatch};
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
    /// A row as numbers of `F`, in place where it holds them already.
    fn view<'a, F: Float>(row: &'a [Self], scratch: &'a mut [F]) -> &'a [F];
    /// Lets `write` fill the row, through `scratch` where the row is narrower.
    fn fill(row: &mut [Self], scratch: &mut [Self::Float], write: impl FnOnce(&mut [Self::Float]));
}

/// Rows of 16-bit numbers; float16 is converted by the `half` crate (in hardware where there is any).
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
        row.convert_to_f32_slice(out);
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

/// bfloat16 is the upper half of float32. Without a branch for NaN, and so in vectors, as that of `half` is not.
#[inline(always)]
fn widen_bf16_in<S: Simd>(_: S, row: &[bf16], out: &mut [f32]) {
    for (wide, narrow) in out.iter_mut().zip(row) {
        *wide = f32::from_bits(u32::from(narrow.to_bits()) << 16);
    }
}

/// Rounds to the nearest, ties to even; a NaN stays one.
#[inline(always)]
fn round_bf16_in<S: Simd>(_: S, row: &[f32], out: &mut [bf16]) {
    for (narrow, wide) in out.iter_mut().zip(row) {
        let bits = wide.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
        *narrow = bf16::from_bits(if is_nan { (bits >> 16) as u16 | 0x40 } else { rounded as u16 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
