//! The recursion: from the states before a run of frames to the states after it.
//!
//! ```text
//! blank'[p] = (blank[p] + label[p∓1]) q               label'[p] = (label[p] + blank[p] + k[p] label[p∓1]) e[p]
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
//! above, so that no arc is heavier than 2ᴷ: E = max(E, E of the pair before − K), along the whole chain. With n frames
//! K n = reach. A path through the run multiplies x by n arcs, by n probabilities, and 3ⁿ paths lead to a state at
//! most, so that all of them together bring less than 2^(1 + reach + 2 n + growth), where `growth` is what probabilities
//! above 1 may bring, in whole bits a frame. Hence
//!
//! * nothing overflows, and
//! * what is lost on the way, because a product or a power of two is below 2⁻¹⁰²² and becomes 0, brings a state less than
//!   2^(−1022 + 1 + reach + 2 n + growth) in the end. A state that is not below 2⁻ᶠ at the end, F = 945 − reach − growth,
//!   has lost less than 2⁻⁵⁸ of itself.
//!
//! So the run is right if no state that matters ends below its floor. If one does, or is 0, the run is repeated with fewer
//! frames, from the same states, and at last frame by frame. Frames in which some class has no probability at all are
//! always taken alone, because a state that is 0 would tell nothing.
//!
//! A posterior is what the other end kept, times 2^(both exponents − that of the total), times the state. The first is below
//! 2^(1 + reach + 2 n + growth) like every state; with a factor of at most 2^([`HEIGHT`] − growth) the product of the two
//! stays below 2^1020, and the posterior itself is at most 1. A factor that is higher repeats the run, too.

use std::ops::Range;

use fearless_simd::f64x8;
use fearless_simd::prelude::*;

use super::chain::{Chain, Places};
use super::frames::Frames;
use super::meeting::{Kept, Meeting};
use super::{KEEP, LANES, MEET, Piece, TILE};
use crate::simd::scaled::{self, BOTTOM, Scaled, power};
use crate::simd::transposed;

/// The bits that arcs may add in a run of eight frames, and in a shorter one. Short runs are for sharp scores, whose
/// states fall further.
const REACH: [f64; 2] = [320.0, 200.0];
/// The bits that reach, growth, and the fall of a state to its end may have together.
const ROOM: f64 = 945.0;
/// The bits that a posterior may lie above the product of its mantissas.
const HEIGHT: f64 = 680.0;

/// A tile in which nothing is reached.
const EMPTY: [f64; TILE] = {
    let mut tile = [0.0; TILE];
    let mut at = 0;
    while at < LANES {
        tile[LANES + at] = BOTTOM;
        tile[3 * LANES + at] = BOTTOM;
        at += 1;
    }
    tile
};

/// Makes a tile one in which nothing is reached.
pub(super) fn clear(tile: &mut [f64]) {
    tile.copy_from_slice(&EMPTY);
}

#[inline(always)]
fn source<'a>(from: &'a [f64], tile: usize, reached: &Range<usize>) -> &'a [f64; TILE] {
    match reached.contains(&tile) {
        true => from[tile * TILE..][..TILE].try_into().expect("a tile"),
        false => &EMPTY,
    }
}

/// The blanks (0) or labels (1) of a tile.
#[inline(always)]
fn load<S: Simd>(simd: S, state: &[f64; TILE], kind: usize) -> Scaled<S> {
    let at = 2 * kind * LANES;
    Scaled {
        mantissa: f64x8::from_slice(simd, &state[at..at + LANES]),
        exponent: f64x8::from_slice(simd, &state[at + LANES..at + 2 * LANES]),
    }
}

#[inline(always)]
fn store<S: Simd>(state: &mut [f64; TILE], kind: usize, numbers: Scaled<S>) {
    let at = 2 * kind * LANES;
    numbers.mantissa.store_slice(&mut state[at..at + LANES]);
    numbers.exponent.store_slice(&mut state[at + LANES..at + 2 * LANES]);
}

/// Every lane's neighbour that comes before it on the way; `before` is the vector before.
#[inline(always)]
fn behind<S: Simd, const BACK: bool>(before: f64x8<S>, now: f64x8<S>) -> f64x8<S> {
    if BACK { now.slide::<1>(before) } else { before.slide::<7>(now) }
}

/// Eight rows of eight, transposed.
#[inline(always)]
pub(super) fn square<S: Simd>(simd: S, numbers: &[f64]) -> [f64x8<S>; 8] {
    let mut rows = [f64x8::splat(simd, 0.0); 8];
    for (row, numbers) in rows.iter_mut().zip(numbers.chunks_exact(LANES)) {
        *row = f64x8::from_slice(simd, numbers);
    }
    transposed(rows)
}

/// Column by column, what the rows of eight labels hold.
#[inline(always)]
fn columns<S: Simd>(simd: S, table: &[f64], slots: &[u32]) -> [f64x8<S>; 8] {
    let mut rows = [f64x8::splat(simd, 0.0); 8];
    for (row, &slot) in rows.iter_mut().zip(slots) {
        *row = f64x8::from_slice(simd, &table[slot as usize * LANES..][..LANES]);
    }
    transposed(rows)
}

/// The same for the columns of a piece; few are read one by one.
#[inline(always)]
fn emissions_of<S: Simd>(simd: S, table: &[f64], slots: &[u32], piece: &Piece) -> [f64x8<S>; 8] {
    if piece.columns.len() > 2 {
        return columns(simd, table, slots);
    }
    let mut emissions = [f64x8::splat(simd, 0.0); 8];
    for column in piece.columns.clone() {
        let mut lanes = [0.0; LANES];
        for (lane, &slot) in lanes.iter_mut().zip(slots) {
            *lane = table[slot as usize * LANES + column];
        }
        emissions[column] = f64x8::from_slice(simd, &lanes);
    }
    emissions
}

/// Raises the exponents of a tile's blanks and labels, so that none lies more than `fall` below that of the pair before.
/// `highest` is the highest exponent of the tile before, as it looks from its last pair; that of this one is returned.
#[inline(always)]
fn raised<S: Simd, const BACK: bool>(
    blank: Scaled<S>,
    label: Scaled<S>,
    highest: f64x8<S>,
    fall: f64x8<S>,
) -> (Scaled<S>, Scaled<S>, f64x8<S>) {
    let simd = fall.token();
    let last = |peak: f64x8<S>| f64x8::splat(simd, if BACK { peak[0] } else { peak[7] });
    let mut peak = blank.exponent.max(label.exponent);
    let least = behind::<S, BACK>(highest, peak) - fall;
    let is_low = blank.exponent.simd_lt(least) | label.exponent.simd_lt(least.max(blank.exponent - fall));
    if !is_low.any_true() {
        // No state lies low beside its neighbour, so none does beside others.
        return (blank, label, last(peak));
    }
    // The highest exponent so far, falling with every pair: a prefix maximum in three steps.
    let bottom = f64x8::splat(simd, BOTTOM);
    let (two, four) = (fall + fall, (fall + fall) * 2.0);
    let lanes = f64x8::from_slice(simd, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    if BACK {
        peak = peak.max(peak.slide::<1>(bottom) - fall);
        peak = peak.max(peak.slide::<2>(bottom) - two);
        peak = peak.max(peak.slide::<4>(bottom) - four);
        peak = peak.max(highest - lanes.reverse() * fall);
    } else {
        peak = peak.max(bottom.slide::<7>(peak) - fall);
        peak = peak.max(bottom.slide::<6>(peak) - two);
        peak = peak.max(bottom.slide::<4>(peak) - four);
        peak = peak.max(highest - lanes * fall);
    }
    let least = behind::<S, BACK>(highest, peak) - fall;
    let blank_exponent = blank.exponent.max(least);
    let label_exponent = label.exponent.max(least.max(blank_exponent - fall));
    let blank = Scaled { mantissa: blank.mantissa * power(blank.exponent - blank_exponent), exponent: blank_exponent };
    let label = Scaled { mantissa: label.mantissa * power(label.exponent - label_exponent), exponent: label_exponent };
    (blank, label, last(peak))
}

/// Advances over the columns of a piece at once. Returns whether the result is right; if not, `to` and the columns of the
/// piece hold nothing of use.
///
/// In mode [`KEEP`] what arrives at every label is kept, before it is multiplied by the label's probability; in mode
/// [`MEET`] it meets what was kept from the other end: their product is the posterior of the label.
#[inline(always)]
pub(super) fn run<S: Simd, const MODE: u8, const BACK: bool>(
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
    let growth: f64 = frames.growth[..frames.count].iter().sum();
    let splat = |value: f64| f64x8::splat(simd, value);
    let reach = REACH[usize::from(count < LANES)];
    let fall = splat((reach / count as f64).floor());
    let (bottom, zero) = (splat(BOTTOM), splat(0.0));
    let lanes = f64x8::from_slice(simd, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    let mut blanks = [0.0; LANES];
    for (step, blank) in blanks[..count].iter_mut().enumerate() {
        *blank = frames.probabilities[piece.column(step)];
    }
    let bounds = |places: &Range<usize>| (splat(places.start as f64), splat(places.end as f64));
    let (blanks_inside, labels_inside) = (bounds(&piece.inside.blanks), bounds(&piece.inside.labels));
    let Places { blanks: inside, labels } = &piece.inside;
    let whole = inside.start.max(labels.start).div_ceil(LANES)..inside.end.min(labels.end) / LANES;
    let mut highest = bottom;
    let mut label_exponent_before = bottom;
    let mut labels_before = [zero; LANES];
    let mut lowest = zero;
    let mut height = bottom;
    for i in 0..piece.tiles.len() {
        let tile = if BACK { piece.tiles.end - 1 - i } else { piece.tiles.start + i };
        let state = source(from, tile, &piece.reached);
        let slots = &chain.slots[tile * LANES..][..LANES];
        let own_blank = load(simd, state, 0);
        let own_label = load(simd, state, 1);
        let (blank, label, peak) = raised::<S, BACK>(own_blank, own_label, highest, fall);
        highest = peak;
        let (blank_exponent, label_exponent) = (blank.exponent, label.exponent);
        let (mut blank, mut label) = (blank.mantissa, label.mantissa);
        // The arcs.
        let before = behind::<S, BACK>(label_exponent_before, label_exponent);
        label_exponent_before = label_exponent;
        let skip = f64x8::from_slice(simd, &chain.skips[tile * LANES..][..LANES]);
        let to_blank = power(before - blank_exponent);
        let to_label = power(blank_exponent - label_exponent);
        let over = power((before + skip) - label_exponent);
        let emissions = emissions_of(simd, &frames.probabilities, slots, piece);
        let mut factor = zero;
        if MODE == KEEP {
            kept.keep_exponents(1, piece.columns.start, tile, label_exponent);
        }
        if MODE == MEET {
            let other = kept.exponents(simd, 1, kept.exponent_row[piece.columns.start], tile, BACK);
            let log_2 = label_exponent + (other - splat(meeting.total.1));
            height = height.max(log_2);
            factor = power(log_2.min(splat(1023.0))) * splat(meeting.over_total);
        }
        let mut posteriors = [zero; LANES];
        for step in 0..count {
            let column = piece.column(step);
            let previous = behind::<S, BACK>(labels_before[step], label);
            labels_before[step] = label;
            let arrived = previous.mul_add(over, blank.mul_add(to_label, label));
            blank = previous.mul_add(to_blank, blank) * splat(blanks[step]);
            label = arrived * emissions[column];
            if MODE == KEEP {
                kept.keep(1, column, tile, arrived);
            }
            if MODE == MEET {
                posteriors[column] = (kept.mantissas(simd, 1, column, tile, BACK) * factor) * label;
            }
        }
        if MODE == MEET {
            meeting.add_labels(simd, slots, tile, transposed(posteriors));
        }
        let state: &mut [f64; TILE] = (&mut to[tile * TILE..][..TILE]).try_into().expect("a tile");
        let blank = Scaled { mantissa: blank, exponent: blank_exponent }.normal();
        let label = Scaled { mantissa: label, exponent: label_exponent }.normal();
        let blank_end = blank.exponent - blank_exponent;
        let label_end = label.exponent - label_exponent;
        if whole.contains(&tile) {
            lowest = lowest.min(blank_end.min(label_end));
        } else {
            let place = lanes + splat((tile * LANES) as f64);
            let is_inside = place.simd_ge(blanks_inside.0) & place.simd_lt(blanks_inside.1);
            lowest = lowest.min(is_inside.select(blank_end, zero));
            let is_inside = place.simd_ge(labels_inside.0) & place.simd_lt(labels_inside.1);
            lowest = lowest.min(is_inside.select(label_end, zero));
        }
        store(state, 0, blank);
        store(state, 1, label);
    }
    if MODE == KEEP {
        (piece.columns.clone()).for_each(|column| kept.exponent_row[column] = piece.columns.start);
    }
    lowest.reduce_min() >= growth + reach - ROOM && height.reduce_max() <= HEIGHT - growth
}

/// What arrives at the blanks and at the labels of a tile, before they multiply it by their own probabilities; and the
/// labels that the next tile on the way needs.
#[inline(always)]
fn arrivals<S: Simd, const BACK: bool>(
    simd: S,
    chain: &Chain,
    state: &[f64; TILE],
    tile: usize,
    before: Scaled<S>,
) -> (Scaled<S>, Scaled<S>, Scaled<S>) {
    let (blank, label) = (load(simd, state, 0), load(simd, state, 1));
    let previous = Scaled {
        mantissa: behind::<S, BACK>(before.mantissa, label.mantissa),
        exponent: behind::<S, BACK>(before.exponent, label.exponent),
    };
    let skip = f64x8::from_slice(simd, &chain.skips[tile * LANES..][..LANES]);
    let skipping = Scaled { mantissa: previous.mantissa, exponent: previous.exponent + skip };
    let staying = Scaled { mantissa: label.mantissa, exponent: label.exponent + f64x8::splat(simd, chain.stay) };
    (blank.plus(previous).normal(), staying.plus_two(blank, skipping).normal(), label)
}

/// Advances over the one column of a piece.
#[inline(always)]
pub(super) fn frame<S: Simd, const MODE: u8, const BACK: bool>(
    simd: S,
    chain: &Chain,
    frames: &Frames,
    piece: &Piece,
    from: &[f64],
    to: &mut [f64],
    kept: &mut Kept,
    meeting: &mut Meeting,
) {
    let column = piece.columns.start;
    let deep = |slot: usize| if frames.is_deep { frames.exponents[slot * LANES + column] } else { 0.0 };
    let q = Scaled::splat(simd, (frames.probabilities[column], deep(0)));
    let over_total = Scaled::splat(simd, (meeting.over_total, -meeting.total.1));
    let zero = f64x8::splat(simd, 0.0);
    let mut before = Scaled::splat(simd, (0.0, BOTTOM));
    for i in 0..piece.tiles.len() {
        let tile = if BACK { piece.tiles.end - 1 - i } else { piece.tiles.start + i };
        let (to_blank, to_label);
        (to_blank, to_label, before) =
            arrivals::<S, BACK>(simd, chain, source(from, tile, &piece.reached), tile, before);
        let slots = &chain.slots[tile * LANES..][..LANES];
        let mut emission = ([0.0; LANES], [0.0; LANES]);
        for (lane, &slot) in slots.iter().enumerate() {
            emission.0[lane] = frames.probabilities[slot as usize * LANES + column];
            emission.1[lane] = deep(slot as usize);
        }
        if MODE == KEEP {
            kept.keep(1, column, tile, to_label.mantissa);
            kept.keep_exponents(1, column, tile, to_label.exponent);
        }
        let mut label = to_label.times(Scaled::load(simd, (&emission.0, &emission.1), 0)).normal();
        let mut blank = to_blank.times(q).normal();
        if !chain.stars.is_empty() {
            let is_star = f64x8::from_slice(simd, &chain.stars[tile * LANES..][..LANES]).simd_gt(zero);
            let star = to_blank.times(Scaled::splat(simd, (frames.stars[column], 0.0))).normal();
            blank.mantissa = is_star.select(star.mantissa, blank.mantissa);
            blank.exponent = is_star.select(star.exponent, blank.exponent);
            if MODE == KEEP {
                kept.keep(0, column, tile, to_blank.mantissa);
                kept.keep_exponents(0, column, tile, to_blank.exponent);
            }
        }
        if let (Some(blanks), Some(labels)) = (chain.gain(simd, 0, tile), chain.gain(simd, 1, tile)) {
            blank = blank.times(blanks).normal();
            label = label.times(labels).normal();
        }
        let state: &mut [f64; TILE] = (&mut to[tile * TILE..][..TILE]).try_into().expect("a tile");
        store(state, 0, blank);
        store(state, 1, label);
        if MODE == MEET {
            if !chain.stars.is_empty() {
                let met = blank.times(kept.state::<S, BACK>(simd, 0, column, tile).normal()).times(over_total).to_f64();
                let stars = met * f64x8::from_slice(simd, &chain.stars[tile * LANES..][..LANES]);
                meeting.stars[column] += stars.to_array().iter().sum::<f64>();
            }
            let met = label.times(kept.state::<S, BACK>(simd, 1, column, tile).normal()).times(over_total).to_f64();
            meeting.put_aside(tile, column, met);
        }
    }
    if MODE == KEEP {
        kept.exponent_row[column] = column;
    }
}

/// The probability of all paths, as mantissa and exponent: the states of both ends where they meet, each with the steps
/// that it has made.
#[inline(always)]
pub(super) fn total<S: Simd>(
    simd: S,
    (chain, states, steps): (&Chain, &[f64], usize),
    (back, back_states, back_steps): (&Chain, &[f64], usize),
    kept: &mut Kept,
) -> (f64, f64) {
    let tiles = back.passed(&back.places(back_steps), &back.places(back_steps + 1));
    let back_reached = back.places(back_steps).tiles();
    let mut before = Scaled::splat(simd, (0.0, BOTTOM));
    for tile in tiles.clone().rev() {
        let (to_blank, to_label);
        (to_blank, to_label, before) =
            arrivals::<S, true>(simd, back, source(back_states, tile, &back_reached), tile, before);
        kept.keep(0, 0, tile, to_blank.mantissa);
        kept.keep_exponents(0, 0, tile, to_blank.exponent);
        kept.keep(1, 0, tile, to_label.mantissa);
        kept.keep_exponents(1, 0, tile, to_label.exponent);
    }
    kept.clear_around(0..1, &tiles);
    let mut sum = Scaled::splat(simd, (0.0, BOTTOM));
    let reached = chain.places(steps).tiles();
    for tile in reached.clone() {
        let state = source(states, tile, &reached);
        let blank = load(simd, state, 0).times(kept.state::<S, false>(simd, 0, 0, tile)).normal();
        let label = load(simd, state, 1).times(kept.state::<S, false>(simd, 1, 0, tile)).normal();
        sum = sum.plus_two(blank, label).normal();
    }
    let lanes = (0..LANES).map(|lane| (sum.mantissa[lane], sum.exponent[lane]));
    lanes.reduce(scaled::sum).map_or((0.0, BOTTOM), scaled::normal)
}
