//! The recursion: from the states before a run of frames to the states after it.
//!
//! ```text
//! B'[j] = (B[j] + A[j−1]) q                      j = 0..=L
//! A'[j] = (A[j] + B[j] + k[j] A[j−1]) e[j]       j = 0..L
//! ```
//!
//! There are two ways, which agree to rounding:
//!
//! * [`frame`]: one frame; every sum at the largest exponent of what is added. Right for every input.
//! * [`run`]: up to eight frames at once, with exponents that stay as they are meanwhile. The powers of two that bring a
//!   state to another's exponent are then constants, and a frame is five multiplications and additions in registers for
//!   every pair of states.
//!
//! # When a run of frames is right
//!
//! A state is x · 2ᴱ, with x in [1, 2) before the run, or 0. First E is *raised* where a predecessor lies more than K bits
//! above, so that no arc is heavier than 2ᴷ: E = max(E, E of the pair before − K), along the whole chain. With n frames,
//! K n = [`REACH`].
//!
//! * Nothing overflows: x grows by arcs of at most 2ᴷ, by three summands and by its own probability in each frame, so it
//!   stays below 2^(1 + REACH + 2 n + growth).
//! * Nothing that matters is lost. A state can stay where it is, so that x falls by no more than its probabilities, and
//!   a state that was 0 has just been entered over an arc of 2ᴷ, because its exponent is that of its predecessor less K.
//!   So x, where it is not 0, is at least 2^−(raise + bits). What is lost in a sum lies below 2^−1022 (a product that is
//!   too small), or below 2^(−1022 + 1 + REACH + 2 n + growth) (a power of two that is too small): with
//!   raise + bits ≤ [`BUDGET`] that is less than 2⁻⁵⁸ of the sum.
//!
//! `bits` is known from the frames; `raise` comes out of the run itself, which writes to a row of its own and is
//! repeated with fewer frames, or frame by frame, where the budget is exceeded.

use fearless_simd::prelude::*;
use fearless_simd::{f64x4, f64x8};

use super::chain::Chain;
use super::frames::Frames;
use super::{KEEP, Kept, LANES, MEET, Meeting, Piece, TILE};
use crate::simd::scaled::{self, BOTTOM, Scaled, power};

/// The bits that arcs may add in a run.
const REACH: f64 = 320.0;
/// The bits that a state may lie below its exponent.
const BUDGET: f64 = 630.0;
/// The bits that a posterior may lie above the product of its mantissas.
const HEIGHT: f64 = 680.0;

/// A tile in which nothing is reached.
const EMPTY: [f64; TILE] = {
    let mut tile = [0.0; TILE];
    let mut lane = 0;
    while lane < LANES {
        tile[LANES + lane] = BOTTOM;
        tile[3 * LANES + lane] = BOTTOM;
        lane += 1;
    }
    tile
};

pub(super) fn clear(tile: &mut [f64]) {
    tile.copy_from_slice(&EMPTY);
}

#[inline(always)]
fn source(from: &[f64], tile: usize, reached: usize) -> &[f64] {
    if tile < reached { &from[tile * TILE..][..TILE] } else { &EMPTY }
}

/// [a₇, b₀ … b₆]
#[inline(always)]
fn behind<S: Simd>(a: f64x8<S>, b: f64x8<S>) -> f64x8<S> {
    a.slide::<7>(b)
}

/// Rows to columns.
#[inline(always)]
fn transposed<S: Simd>(rows: [f64x8<S>; 8]) -> [f64x8<S>; 8] {
    #[inline(always)]
    fn quarter<S: Simd>(a: f64x4<S>, b: f64x4<S>, c: f64x4<S>, d: f64x4<S>) -> [f64x4<S>; 4] {
        let (ac_low, ac_high) = a.interleave(c);
        let (bd_low, bd_high) = b.interleave(d);
        let (first, second) = ac_low.interleave(bd_low);
        let (third, fourth) = ac_high.interleave(bd_high);
        [first, second, third, fourth]
    }
    let [a, b, c, d, e, f, g, h] = rows;
    let ((a, a2), (b, b2), (c, c2), (d, d2)) = (a.split(), b.split(), c.split(), d.split());
    let ((e, e2), (f, f2), (g, g2), (h, h2)) = (e.split(), f.split(), g.split(), h.split());
    let (left, right) = (quarter(a, b, c, d), quarter(e, f, g, h));
    let (left2, right2) = (quarter(a2, b2, c2, d2), quarter(e2, f2, g2, h2));
    [
        left[0].combine(right[0]),
        left[1].combine(right[1]),
        left[2].combine(right[2]),
        left[3].combine(right[3]),
        left2[0].combine(right2[0]),
        left2[1].combine(right2[1]),
        left2[2].combine(right2[2]),
        left2[3].combine(right2[3]),
    ]
}

/// Column by column, what the rows of a tile's labels hold.
#[inline(always)]
fn columns<S: Simd>(simd: S, table: &[f64], slots: &[u32]) -> [f64x8<S>; 8] {
    let mut rows = [f64x8::splat(simd, 0.0); 8];
    for (row, &slot) in rows.iter_mut().zip(slots) {
        *row = f64x8::from_slice(simd, &table[slot as usize * LANES..][..LANES]);
    }
    transposed(rows)
}

/// Advances over the columns of a piece at once. Returns whether the result is right; if not, only `to` and the columns
/// of the piece were written.
///
/// In mode [`KEEP`] what arrives at every state is kept, before it is multiplied by the state's own probability; in mode
/// [`MEET`] it meets what was kept from the other end: their product is the posterior of the state.
#[inline(always)]
pub(super) fn run<S: Simd, const MODE: u8>(
    simd: S,
    chain: &Chain,
    frames: &Frames,
    piece: &Piece,
    from: &[f64],
    to: &mut [f64],
    kept: &mut Kept,
    meeting: &mut Meeting,
) -> bool {
    let count = piece.columns.len();
    let spent: f64 = frames.bits[piece.columns.clone()].iter().sum();
    let growth: f64 = frames.growth[..frames.count].iter().sum();
    if spent > BUDGET || frames.is_deep {
        return false;
    }
    let splat = |value: f64| f64x8::splat(simd, value);
    let heaviest = (REACH / count as f64).floor();
    let fall = splat(heaviest);
    let (bottom, zero) = (splat(BOTTOM), splat(0.0));
    // 1 to 8 pairs further.
    let further = f64x8::from_slice(simd, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]) * fall;
    let mut blanks = [0.0; LANES];
    for (step, blank) in blanks[..count].iter_mut().enumerate() {
        *blank = frames.probabilities[piece.column(step)];
    }
    let mut highest = bottom;
    let mut label_exponent_before = bottom;
    let mut labels_before = [zero; LANES];
    let mut raise = zero;
    let mut height = bottom;
    for tile in piece.tiles.clone() {
        let state = source(from, tile, piece.reached);
        let (own_blank, own_label) = Scaled::pair(simd, state);
        // The highest exponent so far, falling by K with every pair: a prefix maximum in three steps.
        let mut peak = own_blank.exponent.max(own_label.exponent);
        peak = peak.max(bottom.slide::<7>(peak) - fall);
        peak = peak.max(bottom.slide::<6>(peak) - (fall + fall));
        peak = peak.max(bottom.slide::<4>(peak) - (fall + fall) * 2.0);
        peak = peak.max(highest - further);
        let least = behind(highest, peak) - fall;
        highest = splat(peak[7]);
        let blank_exponent = own_blank.exponent.max(least);
        let label_exponent = own_label.exponent.max(least.max(blank_exponent - fall));
        let blank_raise = own_blank.exponent - blank_exponent;
        let label_raise = own_label.exponent - label_exponent;
        // Of states that are 0 the exponent says nothing.
        let reached = splat(BOTTOM / 2.0);
        raise = raise.max(own_blank.exponent.simd_gt(reached).select(-blank_raise, zero));
        raise = raise.max(own_label.exponent.simd_gt(reached).select(-label_raise, zero));
        let mut blank = own_blank.mantissa * power(blank_raise);
        let mut label = own_label.mantissa * power(label_raise);
        // The arcs.
        let before = behind(label_exponent_before, label_exponent);
        label_exponent_before = label_exponent;
        let skip = f64x8::from_slice(simd, &chain.skips[tile * LANES..][..LANES]);
        let to_blank = power(before - blank_exponent);
        let to_label = power(blank_exponent - label_exponent);
        let over = power((before + skip) - label_exponent);
        let slots = &chain.slots[tile * LANES..][..LANES];
        let emissions = columns(simd, &frames.probabilities, slots);
        let mut posteriors = [zero; LANES];
        let (mut blank_factor, mut label_factor) = (zero, zero);
        let at = meeting.place(tile);
        if MODE == MEET {
            let row = kept.exponent_row[piece.columns.start];
            let over_total = splat(-meeting.total.1);
            let blank_height = blank_exponent + (kept.exponent(simd, 0, row, at) + over_total);
            let label_height = label_exponent + (kept.exponent(simd, 1, row, at - 1) + over_total);
            height = height.max(blank_height.max(label_height));
            let normal = splat(meeting.over_total);
            blank_factor = power(blank_height.min(splat(1023.0))) * normal;
            label_factor = power(label_height.min(splat(1023.0))) * normal;
        }
        if MODE == KEEP {
            kept.keep_exponents(piece.columns.start, tile, blank_exponent, label_exponent);
        }
        for step in 0..count {
            let column = piece.column(step);
            let previous = behind(labels_before[step], label);
            labels_before[step] = label;
            let to_the_label = previous.mul_add(over, blank.mul_add(to_label, label));
            let to_the_blank = previous.mul_add(to_blank, blank);
            if MODE == KEEP {
                kept.keep(column, tile, to_the_blank, to_the_label);
            }
            blank = to_the_blank * splat(blanks[step]);
            label = to_the_label * emissions[column];
            if MODE == MEET {
                let posterior = (kept.mantissa(simd, 0, column, at) * blank_factor) * blank;
                meeting.add_blank(simd, column, posterior);
                posteriors[column] = (kept.mantissa(simd, 1, column, at - 1) * label_factor) * label;
            }
        }
        if MODE == MEET {
            meeting.add_labels(simd, slots, transposed(posteriors));
        }
        let state = &mut to[tile * TILE..][..TILE];
        let blank = Scaled { mantissa: blank, exponent: blank_exponent }.normal();
        Scaled::store_pair(blank, Scaled { mantissa: label, exponent: label_exponent }.normal(), state);
    }
    if MODE == KEEP {
        (piece.columns.clone()).for_each(|column| kept.exponent_row[column] = piece.columns.start);
    }
    raise.reduce_max() + spent <= BUDGET && height.reduce_max() <= HEIGHT - growth
}

/// What arrives at the blanks and labels of a tile, before they multiply it by their own probabilities; and the labels
/// themselves, for the next tile.
#[inline(always)]
fn arrivals<S: Simd>(
    simd: S,
    chain: &Chain,
    state: &[f64],
    tile: usize,
    label_before: Scaled<S>,
    stay: f64x8<S>,
) -> (Scaled<S>, Scaled<S>, Scaled<S>) {
    let (blank, label) = Scaled::pair(simd, state);
    let previous = Scaled {
        mantissa: behind(label_before.mantissa, label.mantissa),
        exponent: behind(label_before.exponent, label.exponent),
    };
    let skip = f64x8::from_slice(simd, &chain.skips[tile * LANES..][..LANES]);
    let skipping = Scaled { mantissa: previous.mantissa, exponent: previous.exponent + skip };
    let staying = Scaled { mantissa: label.mantissa, exponent: label.exponent + stay };
    (blank.plus(previous).normal(), staying.plus_two(blank, skipping).normal(), label)
}

/// Advances over the one column of a piece.
#[inline(always)]
pub(super) fn frame<S: Simd, const MODE: u8>(
    simd: S,
    chain: &Chain,
    frames: &Frames,
    piece: &Piece,
    from: &[f64],
    to: &mut [f64],
    kept: &mut Kept,
    meeting: &mut Meeting,
    stay: f64,
) {
    let splat = |value: f64| f64x8::splat(simd, value);
    let column = piece.columns.start;
    let deep = |slot: usize| if frames.is_deep { frames.exponents[slot * LANES + column] } else { 0.0 };
    let q = Scaled::splat(simd, (frames.probabilities[column], deep(0)));
    let stay = splat(stay);
    let over_total = Scaled::splat(simd, (meeting.over_total, -meeting.total.1));
    let mut label_before = Scaled::splat(simd, (0.0, BOTTOM));
    for tile in piece.tiles.clone() {
        let (to_the_blank, to_the_label);
        (to_the_blank, to_the_label, label_before) =
            arrivals(simd, chain, source(from, tile, piece.reached), tile, label_before, stay);
        let slots = &chain.slots[tile * LANES..][..LANES];
        let mut emission = ([0.0; LANES], [0.0; LANES]);
        for (lane, &slot) in slots.iter().enumerate() {
            emission.0[lane] = frames.probabilities[slot as usize * LANES + column];
            emission.1[lane] = deep(slot as usize);
        }
        if MODE == KEEP {
            kept.keep(column, tile, to_the_blank.mantissa, to_the_label.mantissa);
            kept.keep_exponents(column, tile, to_the_blank.exponent, to_the_label.exponent);
        }
        let blank = to_the_blank.times(q).normal();
        let label = to_the_label.times(Scaled::load(simd, (&emission.0, &emission.1), 0)).normal();
        if MODE == MEET {
            let at = meeting.place(tile);
            let row = kept.exponent_row[column];
            let other_blank =
                Scaled { mantissa: kept.mantissa(simd, 0, column, at), exponent: kept.exponent(simd, 0, row, at) };
            let other_label = Scaled {
                mantissa: kept.mantissa(simd, 1, column, at - 1),
                exponent: kept.exponent(simd, 1, row, at - 1),
            };
            let posterior = other_blank.normal().times(blank).times(over_total).to_f64();
            meeting.add_blank(simd, column, posterior);
            let mut posteriors = [splat(0.0); LANES];
            posteriors[column] = other_label.normal().times(label).times(over_total).to_f64();
            meeting.add_labels(simd, slots, transposed(posteriors));
        }
        let state = &mut to[tile * TILE..][..TILE];
        Scaled::store_pair(blank, label, state);
    }
    if MODE == KEEP {
        kept.exponent_row[column] = column;
    }
}

/// The probability of all paths, as mantissa and exponent: the states of both ends where they meet, `steps` from each.
#[inline(always)]
pub(super) fn total<S: Simd>(
    simd: S,
    [chain, other_chain]: [&Chain; 2],
    [states, other_states]: [&[f64]; 2],
    [steps, other_steps]: [usize; 2],
    kept: &mut Kept,
    meeting: &Meeting,
    stay: f64,
) -> (f64, f64) {
    let splat = |value: f64| f64x8::splat(simd, value);
    let stay = splat(stay);
    let tiles = other_chain.band(&(other_steps..other_steps + 1));
    let reached = other_chain.reached(other_steps);
    let mut label_before = Scaled::splat(simd, (0.0, BOTTOM));
    for tile in tiles.clone() {
        let (to_the_blank, to_the_label);
        (to_the_blank, to_the_label, label_before) =
            arrivals(simd, other_chain, source(other_states, tile, reached), tile, label_before, stay);
        kept.keep(0, tile, to_the_blank.mantissa, to_the_label.mantissa);
        kept.keep_exponents(0, tile, to_the_blank.exponent, to_the_label.exponent);
    }
    kept.clear_around(0..1, &tiles);
    let mut sum = Scaled::splat(simd, (0.0, BOTTOM));
    for tile in chain.band(&(steps..steps)).start..chain.reached(steps) {
        let (blank, label) = Scaled::pair(simd, source(states, tile, chain.reached(steps)));
        let at = meeting.place(tile);
        let other = |kind: usize, at: usize| Scaled {
            mantissa: kept.mantissa(simd, kind, 0, at),
            exponent: kept.exponent(simd, kind, 0, at),
        };
        let (blank, label) = (blank.times(other(0, at)).normal(), label.times(other(1, at - 1)).normal());
        sum = sum.plus_two(blank, label).normal();
    }
    (0..LANES)
        .map(|lane| (sum.mantissa[lane], sum.exponent[lane]))
        .reduce(scaled::sum)
        .map_or((0.0, BOTTOM), scaled::normal)
}
