//! Numbers as they are stored, on their way into registers and back: what has 16 bits is widened and rounded there,
//! without a detour through memory.

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use fearless_simd::Level;
use fearless_simd::prelude::*;
use fearless_simd::{f32x16, f64x8, u16x16, u32x16};
use half::{bf16, f16};

use super::Lanes;

/// A number that is computed with as a [`Lanes`].
pub trait Stored: Copy + Default + Send + Sync + 'static {
    /// What it is computed with as.
    type Wide: Lanes;
    /// Whether it is that number itself.
    const IS_WIDE: bool;
    /// The number that takes part in no maximum, and whose exponential is 0.
    const NEGATIVE_INFINITY: Self;
    /// The number itself, as float64.
    fn exact(self) -> f64;
    /// As many numbers as a vector has lanes.
    fn load<S: Simd>(simd: S, numbers: &[Self]) -> <Self::Wide as Lanes>::Vector<S>;
    /// The way back: rounded to the nearest, ties to even; a NaN stays one.
    fn store<S: Simd>(simd: S, vector: <Self::Wide as Lanes>::Vector<S>, numbers: &mut [Self]);
}

/// A number of 16 bits.
pub trait Half: Stored<Wide = f32> {
    /// The number as it is stored.
    fn bits(self) -> u16;
    /// The number that is stored so.
    fn of_bits(bits: u16) -> Self;
    /// The numbers that are stored so, exactly.
    fn widened<S: Simd>(simd: S, bits: u16x16<S>) -> f32x16<S>;
    /// How numbers are stored.
    fn narrowed<S: Simd>(simd: S, numbers: f32x16<S>) -> u16x16<S>;
}

impl Stored for f32 {
    type Wide = Self;
    const IS_WIDE: bool = true;
    const NEGATIVE_INFINITY: Self = Self::NEG_INFINITY;

    #[inline(always)]
    fn exact(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[Self]) -> f32x16<S> {
        f32x16::from_slice(simd, numbers)
    }

    #[inline(always)]
    fn store<S: Simd>(_: S, vector: f32x16<S>, numbers: &mut [Self]) {
        vector.store_slice(numbers);
    }
}

impl Stored for f64 {
    type Wide = Self;
    const IS_WIDE: bool = true;
    const NEGATIVE_INFINITY: Self = Self::NEG_INFINITY;

    #[inline(always)]
    fn exact(self) -> f64 {
        self
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[Self]) -> f64x8<S> {
        f64x8::from_slice(simd, numbers)
    }

    #[inline(always)]
    fn store<S: Simd>(_: S, vector: f64x8<S>, numbers: &mut [Self]) {
        vector.store_slice(numbers);
    }
}

impl Stored for f16 {
    type Wide = f32;
    const IS_WIDE: bool = false;
    const NEGATIVE_INFINITY: Self = Self::NEG_INFINITY;

    fn exact(self) -> f64 {
        self.to_f64()
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[Self]) -> f32x16<S> {
        load_half(simd, numbers)
    }

    #[inline(always)]
    fn store<S: Simd>(simd: S, vector: f32x16<S>, numbers: &mut [Self]) {
        store_half(simd, vector, numbers);
    }
}

impl Stored for bf16 {
    type Wide = f32;
    const IS_WIDE: bool = false;
    const NEGATIVE_INFINITY: Self = Self::NEG_INFINITY;

    fn exact(self) -> f64 {
        self.to_f64()
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[Self]) -> f32x16<S> {
        load_half(simd, numbers)
    }

    #[inline(always)]
    fn store<S: Simd>(simd: S, vector: f32x16<S>, numbers: &mut [Self]) {
        store_half(simd, vector, numbers);
    }
}

impl Half for f16 {
    #[inline(always)]
    fn bits(self) -> u16 {
        self.to_bits()
    }

    #[inline(always)]
    fn of_bits(bits: u16) -> Self {
        Self::from_bits(bits)
    }

    /// x86 has an instruction for it. Elsewhere: float16 has the fraction of float32 at another place, and an exponent that
    /// is smaller by 112: of numbers without a hidden bit too, which the product puts right.
    #[inline(always)]
    fn widened<S: Simd>(simd: S, bits: u16x16<S>) -> f32x16<S> {
        #[cfg(target_arch = "x86_64")]
        match simd.level() {
            Level::Avx2(avx2) => return x86::widened_by_eight(avx2, bits.to_array()).simd_into(simd),
            Level::Avx512(avx512) => return x86::widened_by_sixteen(avx512, bits.to_array()).simd_into(simd),
            _ => {}
        }
        let (low, high) = bits.widen();
        let bits: u32x16<S> = low.combine(high);
        let (sign, size) = ((bits & 0x8000) << 16, (bits & 0x7fff) << 13);
        let two_to_the_112 = f32x16::splat(simd, f32::from_bits(0x7780_0000));
        let finite: u32x16<S> = (size.bitcast::<f32x16<S>>() * two_to_the_112).bitcast();
        let first_infinite = u32x16::splat(simd, 0x7c00 << 13);
        let infinite = size.simd_ge(first_infinite).select(u32x16::splat(simd, 0x7f80_0000), u32x16::splat(simd, 0));
        (finite | infinite | sign).bitcast()
    }

    #[inline(always)]
    fn narrowed<S: Simd>(simd: S, numbers: f32x16<S>) -> u16x16<S> {
        #[cfg(target_arch = "x86_64")]
        match simd.level() {
            Level::Avx2(avx2) => return x86::narrowed_by_eight(avx2, numbers.to_array()).simd_into(simd),
            Level::Avx512(avx512) => return x86::narrowed_by_sixteen(avx512, numbers.to_array()).simd_into(simd),
            _ => {}
        }
        let constant = |value: u32| u32x16::splat(simd, value);
        let bits: u32x16<S> = numbers.bitcast();
        let (sign, size) = ((bits >> 16) & 0x8000, bits & 0x7fff_ffff);
        // The exponent is smaller by 112; what is above the largest number becomes infinite.
        let normal = (size - (112 << 23) + 0xfff + ((size >> 13) & 1)) >> 13;
        let normal = normal.min(constant(0x7c00));
        // Below the least number with a hidden bit, the sum with ½ has its last place where float16 has it.
        let half = f32x16::splat(simd, 0.5);
        let tiny = (size.bitcast::<f32x16<S>>() + half).bitcast::<u32x16<S>>() - half.bitcast::<u32x16<S>>();
        let number = size.simd_lt(constant(113 << 23)).select(tiny, normal);
        let nan = ((size >> 13) & 0x3ff) | 0x7e00;
        narrow(sign | size.simd_gt(constant(0x7f80_0000)).select(nan, number))
    }
}

impl Half for bf16 {
    #[inline(always)]
    fn bits(self) -> u16 {
        self.to_bits()
    }

    #[inline(always)]
    fn of_bits(bits: u16) -> Self {
        Self::from_bits(bits)
    }

    /// bfloat16 is the upper half of float32.
    #[inline(always)]
    fn widened<S: Simd>(_: S, bits: u16x16<S>) -> f32x16<S> {
        let (low, high) = bits.widen();
        let bits: u32x16<S> = low.combine(high);
        (bits << 16).bitcast()
    }

    #[inline(always)]
    fn narrowed<S: Simd>(_: S, numbers: f32x16<S>) -> u16x16<S> {
        let bits: u32x16<S> = numbers.bitcast();
        let rounded = bits + 0x7fff + ((bits >> 16) & 1);
        narrow(numbers.simd_eq(numbers).select(rounded, bits | 0x40_0000) >> 16)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, __m512, _MM_FROUND_TO_NEAREST_INT as TO_NEAREST, _mm256_castsi256_si128, _mm256_cvtph_ps,
        _mm256_cvtps_ph, _mm256_extracti128_si256, _mm512_cvtph_ps, _mm512_cvtps_ph,
    };

    use fearless_simd::prelude::*;
    use fearless_simd::x86::{Avx2, Avx512};
    use fearless_simd::{f32x8, f32x16, kernel, u16x8, u16x16};

    kernel!(
        #[inline(always)]
        pub fn widened_by_eight(avx2: Avx2, bits: [u16; 16]) -> [f32; 16] {
            let bits: __m256i = u16x16::simd_from(avx2, bits).into();
            let low: f32x8<Avx2> = _mm256_cvtph_ps(_mm256_castsi256_si128(bits)).simd_into(avx2);
            let high: f32x8<Avx2> = _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(bits)).simd_into(avx2);
            low.combine(high).to_array()
        }
    );

    kernel!(
        #[inline(always)]
        pub fn widened_by_sixteen(avx512: Avx512, bits: [u16; 16]) -> [f32; 16] {
            let bits: __m256i = u16x16::simd_from(avx512, bits).into();
            let wide: f32x16<Avx512> = _mm512_cvtph_ps(bits).simd_into(avx512);
            wide.to_array()
        }
    );

    kernel!(
        #[inline(always)]
        pub fn narrowed_by_eight(avx2: Avx2, numbers: [f32; 16]) -> [u16; 16] {
            let (low, high) = f32x16::simd_from(avx2, numbers).split();
            let low: u16x8<Avx2> = _mm256_cvtps_ph::<TO_NEAREST>(low.into()).simd_into(avx2);
            let high: u16x8<Avx2> = _mm256_cvtps_ph::<TO_NEAREST>(high.into()).simd_into(avx2);
            low.combine(high).to_array()
        }
    );

    kernel!(
        #[inline(always)]
        pub fn narrowed_by_sixteen(avx512: Avx512, numbers: [f32; 16]) -> [u16; 16] {
            let numbers: __m512 = f32x16::simd_from(avx512, numbers).into();
            let narrow: u16x16<Avx512> = _mm512_cvtps_ph::<TO_NEAREST>(numbers).simd_into(avx512);
            narrow.to_array()
        }
    );
}

/// Sixteen numbers as a vector. Counted, because what an iterator calls may be left as a call for each vector.
#[inline(always)]
fn load_half<H: Half, S: Simd>(simd: S, numbers: &[H]) -> f32x16<S> {
    let numbers = &numbers[..16];
    let mut bits = [0; 16];
    let mut lane = 0;
    while lane < 16 {
        bits[lane] = numbers[lane].bits();
        lane += 1;
    }
    H::widened(simd, u16x16::simd_from(simd, bits))
}

/// Sixteen numbers from a vector.
#[inline(always)]
fn store_half<H: Half, S: Simd>(simd: S, vector: f32x16<S>, numbers: &mut [H]) {
    let bits: [u16; 16] = H::narrowed(simd, vector).to_array();
    let numbers = &mut numbers[..16];
    let mut lane = 0;
    while lane < 16 {
        numbers[lane] = H::of_bits(bits[lane]);
        lane += 1;
    }
}

/// The lower halves.
#[inline(always)]
fn narrow<S: Simd>(bits: u32x16<S>) -> u16x16<S> {
    let (low, high) = bits.split();
    low.narrow(high)
}

/// Widens a row into `out`, which is as long.
#[inline(always)]
pub fn widen_in<H: Half, S: Simd>(simd: S, row: &[H], out: &mut [f32]) {
    let mut first = 0;
    while first + 16 <= row.len() {
        load_half(simd, &row[first..first + 16]).store_slice(&mut out[first..first + 16]);
        first += 16;
    }
    let (row, out) = (&row[first..], &mut out[first..]);
    if !row.is_empty() {
        let mut last = [H::default(); 16];
        last[..row.len()].copy_from_slice(row);
        out.copy_from_slice(&load_half(simd, &last).as_slice()[..row.len()]);
    }
}

/// Rounds a row into `out`, which is as long.
#[inline(always)]
pub fn round_in<H: Half, S: Simd>(simd: S, row: &[f32], out: &mut [H]) {
    let mut first = 0;
    while first + 16 <= row.len() {
        H::store(simd, f32x16::from_slice(simd, &row[first..first + 16]), &mut out[first..first + 16]);
        first += 16;
    }
    let (row, out) = (&row[first..], &mut out[first..]);
    if !row.is_empty() {
        let (mut wide, mut narrow) = ([0.0; 16], [H::default(); 16]);
        wide[..row.len()].copy_from_slice(row);
        H::store(simd, f32x16::from_slice(simd, &wide), &mut narrow);
        out.copy_from_slice(&narrow[..row.len()]);
    }
}
