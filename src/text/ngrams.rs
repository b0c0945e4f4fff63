//! Clipped matches of n-grams: Σ over n-grams of min(count in the hypothesis, the most in any reference).
//!
//! Two ways, both exact. Bits, for hypotheses of sentence length: a row for each token of the hypothesis, and for each token
//! of a reference the rows where an n-gram ends that ends there too. Each takes one such row that is still free; as all
//! occurrences of an n-gram have the same rows, those that are taken in the end are its clipped matches, and what several
//! references take is their union. Numbers, for longer ones: an n-gram is numbered by its first n − 1 tokens, which have a
//! number already, and its last token.

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, u64x4};

use super::grams::{Counts, Grams};
use super::strips::{Masks, ROWS, WIDE, WORDS, WideMasks, grow};
use crate::error::Error;
use crate::parallel::Ticker;
use crate::simd::level;

/// Up to here bits are faster.
const LONGEST_OF_BITS: usize = 6 * ROWS;

/// What a thread keeps between pairs.
#[derive(Default)]
pub struct Scratch {
    bits: Bits,
    wide: WideMasks,
    numbers: Numbers,
    taken: Vec<u64>,
}

/// Writes the clipped matches of orders 1, 2, … (at most 32) of texts whose tokens are below `distinct`.
pub fn clipped_matches<'a>(
    hypothesis: &'a [u32],
    references: impl Iterator<Item = &'a [u32]> + Clone,
    distinct: usize,
    matches: &mut [i64],
    scratch: &mut Scratch,
    ticker: &Ticker<'_>,
) -> Result<(), Error> {
    if matches.len() <= WIDE_ORDERS {
        let is_wide = |text: &[u32]| (ROWS + 1..=WIDE).contains(&text.len());
        let (mut rest, wide) = (references.clone(), &mut scratch.wide);
        let (first, second) = (rest.next(), rest.next());
        // One reference may have the rows as well, and has them once for many hypotheses.
        if let (Some(reference), None) = (first, second)
            && is_wide(reference)
        {
            return wide_clipped_matches(reference, &std::iter::once(hypothesis), distinct, matches, wide, ticker);
        }
        if is_wide(hypothesis) {
            return wide_clipped_matches(hypothesis, &references, distinct, matches, wide, ticker);
        }
    }
    let taken = scratch.take(hypothesis, references, distinct, matches.len(), ticker)?;
    count(taken, matches);
    Ok(())
}

/// The clipped matches of every beginning of the hypothesis: calls `each` with 0, 1, 2, … and the matches of the first 1, 2,
/// 3, … tokens. Of several occurrences of an n-gram the first ones are taken, so they are known for all beginnings at once.
pub fn clipped_matches_of_beginnings<'a>(
    hypothesis: &'a [u32],
    references: impl Iterator<Item = &'a [u32]> + Clone,
    distinct: usize,
    orders: usize,
    scratch: &mut Scratch,
    ticker: &Ticker<'_>,
    mut each: impl FnMut(usize, &[i64]),
) -> Result<(), Error> {
    let taken = scratch.take(hypothesis, references, distinct, orders, ticker)?;
    let mut matches = [0; MOST_ORDERS];
    let matches = &mut matches[..orders];
    for row in 0..hypothesis.len() {
        for (matches, taken) in matches.iter_mut().zip(&taken[row / ROWS * orders..]) {
            *matches += (taken >> (row % ROWS) & 1) as i64;
        }
        each(row, matches);
    }
    Ok(())
}

/// As many orders as there may be.
const MOST_ORDERS: usize = 32;

impl Scratch {
    /// The rows that are taken: a word for each order, strip after strip.
    fn take<'a>(
        &mut self,
        hypothesis: &'a [u32],
        references: impl Iterator<Item = &'a [u32]> + Clone,
        distinct: usize,
        orders: usize,
        ticker: &Ticker<'_>,
    ) -> Result<&[u64], Error> {
        self.taken.clear();
        grow(&mut self.taken, hypothesis.len().div_ceil(ROWS) * orders)?;
        if hypothesis.len() <= LONGEST_OF_BITS {
            self.bits.take(hypothesis, &references, distinct, orders, &mut self.taken, ticker)?;
        } else {
            self.numbers.take(hypothesis, references, distinct, orders, &mut self.taken, ticker)?;
        }
        Ok(&self.taken)
    }
}

fn count(taken: &[u64], matches: &mut [i64]) {
    matches.fill(0);
    for taken in taken.chunks(matches.len().max(1)) {
        for (matches, taken) in matches.iter_mut().zip(taken) {
            *matches += i64::from(taken.count_ones());
        }
    }
}

#[derive(Default)]
struct Bits {
    masks: Masks,
    edges: Vec<Edge>,
}

/// What a token of a reference leaves to the next strip, a bit for each order: whether an n-gram ends in the last row, and
/// whether a row was taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Edge {
    in_last_row: u32,
    taken: u32,
}

impl Bits {
    fn take<'a>(
        &mut self,
        hypothesis: &[u32],
        references: &(impl Iterator<Item = &'a [u32]> + Clone),
        distinct: usize,
        orders: usize,
        taken: &mut [u64],
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        self.masks.reserve(distinct)?;
        self.edges.clear();
        if hypothesis.len() > ROWS {
            grow(&mut self.edges, references.clone().map(<[u32]>::len).sum())?;
        }
        for (rows, used) in hypothesis.chunks(ROWS).zip(taken.chunks_mut(orders)) {
            let mut edges = &mut self.edges[..];
            self.masks.with(rows, |masks| {
                for reference in references.clone() {
                    let columns = reference.len().min(edges.len());
                    let (of_reference, rest) = std::mem::take(&mut edges).split_at_mut(columns);
                    edges = rest;
                    take_rows(masks, reference, of_reference, used);
                    ticker.tick(reference.len())?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Takes the rows of one strip for a reference: for each order those that are added to `used`. `edges` is empty where there
/// is only one strip.
pub(super) fn take_rows(masks: &Masks, reference: &[u32], edges: &mut [Edge], used: &mut [u64]) {
    match used.len() {
        1 => strip::<1>(masks, reference, edges, used),
        2 => strip::<2>(masks, reference, edges, used),
        4 => strip::<4>(masks, reference, edges, used),
        6 => strip::<6>(masks, reference, edges, used),
        3..=9 => strip::<9>(masks, reference, edges, used),
        _ => strip::<32>(masks, reference, edges, used),
    }
}

/// The same where `ORDERS` is at least the number of orders.
fn strip<const ORDERS: usize>(masks: &Masks, reference: &[u32], edges: &mut [Edge], used: &mut [u64]) {
    let mut strip = Strip { ends: [0u64; ORDERS], taken: [0u64; ORDERS] };
    if edges.is_empty() {
        for &token in reference {
            strip.step(masks.of(token), &mut Edge::default(), 0);
        }
    } else {
        let mut before = 0;
        for (&token, edge) in reference.iter().zip(edges) {
            let above = edge.in_last_row;
            strip.step(masks.of(token), edge, before);
            before = above;
        }
    }
    for (used, taken) in used.iter_mut().zip(strip.taken) {
        *used |= taken;
    }
}

/// Of each order: the rows where an n-gram ends that ends at this token of the reference, and those that are taken.
struct Strip<const ORDERS: usize> {
    ends: [u64; ORDERS],
    taken: [u64; ORDERS],
}

impl<const ORDERS: usize> Strip<ORDERS> {
    #[inline(always)]
    fn step(&mut self, rows: u64, edge: &mut Edge, before: u32) {
        let Self { ends, taken } = self;
        for order in (1..ORDERS).rev() {
            ends[order] = (ends[order - 1] << 1 | u64::from(before >> (order - 1) & 1)) & rows;
        }
        ends[0] = rows;
        edge.in_last_row = 0;
        for order in 0..ORDERS {
            let free = ends[order] & !taken[order] & u64::from(edge.taken >> order & 1).wrapping_sub(1);
            taken[order] |= free & free.wrapping_neg();
            edge.taken |= u32::from(free != 0) << order;
            edge.in_last_row |= ((ends[order] >> (ROWS - 1)) as u32) << order;
        }
    }
}

/// How many orders go with a hypothesis in one vector.
const WIDE_ORDERS: usize = 4;

/// The same with all rows in one vector: those of a hypothesis for references, or of a reference for one hypothesis. Row r is
/// bit r / 4 of word r mod 4, so that the next row is the next word.
fn wide_clipped_matches<'a>(
    rows: &[u32],
    texts: &(impl Iterator<Item = &'a [u32]> + Clone),
    distinct: usize,
    matches: &mut [i64],
    masks: &mut WideMasks,
    ticker: &Ticker<'_>,
) -> Result<(), Error> {
    let mut used = [[0; WORDS]; WIDE_ORDERS];
    let masks = masks.of(rows, distinct, |row| (row % WORDS, row / WORDS))?;
    for text in texts.clone() {
        dispatch!(level(), simd => take_all(simd, masks, text, &mut used));
        ticker.tick(text.len())?;
    }
    for (matches, used) in matches.iter_mut().zip(used) {
        *matches = used.iter().map(|word| i64::from(word.count_ones())).sum();
    }
    Ok(())
}

/// Takes the rows of all orders for a text.
#[inline(always)]
fn take_all<S: Simd>(simd: S, masks: &[[u64; WORDS]], text: &[u32], used: &mut [[u64; WORDS]; WIDE_ORDERS]) {
    let zero = u64x4::splat(simd, 0);
    let carry = u64x4::from_slice(simd, &[1, 0, 0, 0]);
    let mut ends = [zero; WIDE_ORDERS];
    let mut taken = [zero; WIDE_ORDERS];
    for &token in text {
        let rows = u64x4::from_slice(simd, &masks[token as usize]);
        for order in (1..WIDE_ORDERS).rev() {
            let before = ends[order - 1];
            ends[order] = (before.slide::<{ WORDS - 1 }>(before) << carry) & rows;
        }
        ends[0] = rows;
        for (ends, taken) in ends.iter().zip(&mut taken) {
            let free = *ends & !*taken;
            let word = u64x4::from_slice(simd, &FIRST[free.simd_eq(zero).to_bitmask() as usize]);
            *taken |= free & (zero - free) & word;
        }
    }
    for (used, taken) in used.iter_mut().zip(taken) {
        (u64x4::from_slice(simd, used) | taken).store_slice(used);
    }
}

/// The first word that is not 0, by the bits of those that are.
const FIRST: [[u64; WORDS]; 1 << WORDS] = {
    let mut first = [[0; WORDS]; 1 << WORDS];
    let mut zeros = 0;
    while zeros + 1 < 1 << WORDS {
        first[zeros][(zeros as u32).trailing_ones() as usize] = !0;
        zeros += 1;
    }
    first
};

#[derive(Default)]
struct Numbers {
    grams: Grams,
    /// Of each n-gram: how often it may still match, and how often it was seen in the reference under way.
    left: Vec<u32>,
    seen: Counts,
}

impl Numbers {
    fn take<'a>(
        &mut self,
        hypothesis: &'a [u32],
        references: impl Iterator<Item = &'a [u32]> + Clone,
        distinct: usize,
        orders: usize,
        taken: &mut [u64],
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        self.grams.read(std::iter::once(hypothesis).chain(references), distinct)?;
        for shorter in 0..orders {
            if shorter > 0 {
                self.grams.lengthen(ticker)?;
            }
            self.left.clear();
            grow(&mut self.left, self.grams.distinct())?;
            self.seen.reserve(self.grams.distinct())?;
            let mut texts = self.grams.of_texts();
            let hypothesis = texts.next().unwrap_or_default();
            for reference in texts {
                self.seen.each(reference, |gram, count| self.left[gram] = self.left[gram].max(count));
                ticker.tick(reference.len())?;
            }
            let mut any = false;
            for (start, &gram) in hypothesis.iter().enumerate() {
                let left = &mut self.left[gram as usize];
                if *left > 0 {
                    *left -= 1;
                    let row = start + shorter;
                    taken[row / ROWS * orders + shorter] |= 1 << (row % ROWS);
                    any = true;
                }
            }
            ticker.tick(hypothesis.len())?;
            if !any {
                // A longer n-gram that matches would begin with one that does.
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::ticking;

    /// By the definition: every n-gram of the hypothesis against every text.
    fn defined(hypothesis: &[u32], references: &[Vec<u32>], order: usize) -> i64 {
        let count = |text: &[u32], gram: &[u32]| text.windows(order).filter(|other| *other == gram).count();
        let mut grams: Vec<&[u32]> = hypothesis.windows(order).collect();
        grams.sort_unstable();
        grams.dedup();
        let clipped = |gram: &&[u32]| {
            let most = references.iter().map(|reference| count(reference, gram)).max().unwrap_or(0);
            count(hypothesis, gram).min(most) as i64
        };
        grams.iter().map(clipped).sum()
    }

    #[test]
    fn both_ways_count_what_the_definition_does() {
        ticking(|ticker| {
            let mut state = 1u64;
            let mut random = move |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % below
            };
            let mut bits = Bits::default();
            let mut wide = WideMasks::default();
            let mut numbers = Numbers::default();
            let mut scratch = Scratch::default();
            for case in 0..600 {
                let distinct = 1 + random([2, 4, 40][case % 3]);
                let longest = if case % 10 == 0 { 260 } else { 67 };
                let mut text = || (0..random(longest)).map(|_| random(distinct) as u32).collect::<Vec<u32>>();
                let hypothesis = text();
                let references: Vec<Vec<u32>> = (0..=case % 4).map(|_| text()).collect();
                let all = references.iter().map(Vec::as_slice);
                for orders in [1, 2, 3, 4, 6, 9, 12] {
                    let expected: Vec<i64> =
                        (1..=orders).map(|order| defined(&hypothesis, &references, order)).collect();
                    let mut matches = vec![0; orders];
                    let room = vec![0; hypothesis.len().div_ceil(ROWS) * orders];
                    let mut of_bits = room.clone();
                    bits.take(&hypothesis, &all, distinct, orders, &mut of_bits, ticker).unwrap();
                    count(&of_bits, &mut matches);
                    assert_eq!(matches, expected, "bits, case {case}");
                    if orders <= WIDE_ORDERS && hypothesis.len() <= WIDE {
                        wide_clipped_matches(&hypothesis, &all, distinct, &mut matches, &mut wide, ticker).unwrap();
                        assert_eq!(matches, expected, "wide, case {case}");
                    }
                    // Twice, as one reference may have its rows already.
                    for _ in 0..2 {
                        clipped_matches(&hypothesis, all.clone(), distinct, &mut matches, &mut scratch, ticker)
                            .unwrap();
                        assert_eq!(matches, expected, "the way that is chosen, case {case}");
                    }
                    let mut of_numbers = room;
                    numbers.take(&hypothesis, all.clone(), distinct, orders, &mut of_numbers, ticker).unwrap();
                    assert_eq!(of_numbers, of_bits, "numbers, case {case}");
                }
            }
        });
    }
}
