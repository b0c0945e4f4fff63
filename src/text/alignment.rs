//! The alignment behind word and character error rates: which tokens are hits, substitutions, deletions, insertions, and how
//! many.
//!
//! Alignments of least cost differ in what they count, so which one is taken is part of the definition. It is the one of
//! rapidfuzz, which jiwer uses: equal tokens at both ends are taken off; from the end a deletion is preferred, then an
//! insertion, then the diagonal. Where rapidfuzz's table of bits would take a mebibyte or more, it halves the hypothesis,
//! and cuts the reference at the first place of least cost (Hirschberg 1975), which can prefer another alignment.
//!
//! The bits are Myers's (1999, <https://doi.org/10.1145/316542.316550>) in Hyyrö's form: with D(i, j) the distance of the
//! first i tokens of the reference and the first j of the hypothesis, `rises` has a bit where D(i + 1, j) = D(i, j) + 1, and
//! `falls` where it is D(i, j) − 1.

use super::strips::{Bits, Masks, ROWS, grow};
use crate::error::Error;
use crate::parallel::Ticker;

/// What an alignment counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Equal tokens.
    pub hits: i64,
    /// Tokens of the reference that were replaced.
    pub substitutions: i64,
    /// Tokens that only the reference has.
    pub deletions: i64,
    /// Tokens that only the hypothesis has.
    pub insertions: i64,
}

/// What is done with tokens on the way from a reference to a hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// They are equal.
    Hit,
    /// Those of the reference are replaced, one by one.
    Substitution,
    /// Only the reference has them.
    Deletion,
    /// Only the hypothesis has them.
    Insertion,
}

/// Takes an alignment, from the end of both texts to their beginning.
pub trait Steps {
    /// The same operation for so many tokens.
    fn step(&mut self, operation: Operation, tokens: usize);
}

impl Steps for Counts {
    fn step(&mut self, operation: Operation, tokens: usize) {
        *match operation {
            Operation::Hit => &mut self.hits,
            Operation::Substitution => &mut self.substitutions,
            Operation::Deletion => &mut self.deletions,
            Operation::Insertion => &mut self.insertions,
        } += tokens as i64;
    }
}

/// The operations with how many tokens in a row each is for, the last first.
#[derive(Debug, Clone, Default)]
pub struct Runs(Vec<(Operation, usize)>);

impl Steps for Runs {
    fn step(&mut self, operation: Operation, tokens: usize) {
        match self.0.last_mut() {
            Some((last, length)) if *last == operation => *length += tokens,
            _ if tokens > 0 => self.0.push((operation, tokens)),
            _ => {}
        }
    }
}

impl Runs {
    /// What they count.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.0.iter().for_each(|&(operation, tokens)| counts.step(operation, tokens));
        counts
    }

    /// Rows from the first on: the operation, where it begins and ends in the reference, and where in the hypothesis.
    pub fn rows(&self) -> impl Iterator<Item = [i64; 5]> + '_ {
        let (mut reference, mut hypothesis) = (0, 0);
        self.0.iter().rev().map(move |&(operation, tokens)| {
            let begins = (reference, hypothesis);
            let tokens = tokens as i64;
            reference += if operation == Operation::Insertion { 0 } else { tokens };
            hypothesis += if operation == Operation::Deletion { 0 } else { tokens };
            [operation as i64, begins.0, reference, begins.1, hypothesis]
        })
    }
}

/// What a thread keeps between pairs.
#[derive(Default)]
pub struct Scratch {
    masks: Masks,
    edge: Edge,
    /// What goes into each strip, for the way back.
    entries: Vec<Edge>,
    columns: Vec<Column>,
}

/// What crosses the edge between two strips: where D(i, j + 1) is D(i, j) + 1, and where it is D(i, j) − 1.
#[derive(Default, Clone)]
struct Edge {
    rises: Bits,
    falls: Bits,
}

impl Edge {
    /// The upper edge of the table, where every token of the hypothesis is inserted.
    fn reset(&mut self, columns: usize) -> Result<(), Error> {
        self.rises.reset(columns, true)?;
        self.falls.reset(columns, false)
    }

    fn words(&mut self) -> [&mut [u64]; 2] {
        [self.rises.words(), self.falls.words()]
    }
}

/// A column of a strip.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    rises: u64,
    falls: u64,
}

/// The size of rapidfuzz's table, two bits a cell, from which on it halves, and what is never halved.
const HALVED_FROM_BYTES: usize = 1 << 20;
const LEAST_REFERENCE: usize = 65;
const LEAST_HYPOTHESIS: usize = 10;

impl Scratch {
    /// Aligns texts whose tokens are below `distinct`.
    pub fn align<S: Steps + Default>(
        &mut self,
        reference: &[u32],
        hypothesis: &[u32],
        distinct: usize,
        ticker: &Ticker<'_>,
    ) -> Result<S, Error> {
        self.masks.reserve(distinct)?;
        let mut steps = S::default();
        self.part(reference, hypothesis, usize::MAX, &mut steps, ticker)?;
        Ok(steps)
    }

    /// Aligns a part whose distance is at most `most`.
    fn part(
        &mut self,
        reference: &[u32],
        hypothesis: &[u32],
        most: usize,
        steps: &mut impl Steps,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let at_front = reference.iter().zip(hypothesis).take_while(|(a, b)| a == b).count();
        let (reference, hypothesis) = (&reference[at_front..], &hypothesis[at_front..]);
        let at_end = reference.iter().rev().zip(hypothesis.iter().rev()).take_while(|(a, b)| a == b).count();
        let (reference, hypothesis) =
            (&reference[..reference.len() - at_end], &hypothesis[..hypothesis.len() - at_end]);

        steps.step(Operation::Hit, at_end);
        let most = most.min(reference.len().max(hypothesis.len()));
        let band = reference.len().min(2 * most + 1);
        let bytes = 2 * band * hypothesis.len() / 8;
        if bytes < HALVED_FROM_BYTES || reference.len() < LEAST_REFERENCE || hypothesis.len() < LEAST_HYPOTHESIS {
            self.trace(reference, hypothesis, steps, ticker)?;
        } else {
            let (left, right) = hypothesis.split_at(hypothesis.len() / 2);
            let before = self.distances(reference, left, ticker)?;
            let reversed = |tokens: &[u32]| tokens.iter().rev().copied().collect::<Vec<u32>>();
            let after = self.distances(&reversed(reference), &reversed(right), ticker)?;
            let costs = before.iter().zip(after.iter().rev()).map(|(before, after)| before + after);
            // The first of the least.
            let cut = costs.enumerate().min_by_key(|&(_, cost)| cost).map_or(0, |(cut, _)| cut);
            let (most_left, most_right) = (before[cut], after[reference.len() - cut]);
            drop((before, after));
            self.part(&reference[cut..], right, most_right, steps, ticker)?;
            self.part(&reference[..cut], left, most_left, steps, ticker)?;
        }
        steps.step(Operation::Hit, at_front);
        Ok(())
    }

    /// The distances of all beginnings of one text to the whole of another, whose tokens are below `distinct`.
    pub fn distances_of_beginnings(
        &mut self,
        rows: &[u32],
        columns: &[u32],
        distinct: usize,
        ticker: &Ticker<'_>,
    ) -> Result<Vec<usize>, Error> {
        self.masks.reserve(distinct)?;
        self.distances(rows, columns, ticker)
    }

    /// The distances of one text to each of many others.
    pub fn distances_to_all<'a>(
        &mut self,
        rows: &[u32],
        columns: &(impl Iterator<Item = &'a [u32]> + Clone),
        distinct: usize,
        distances: &mut [u32],
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        self.masks.reserve(distinct)?;
        // Each text begins with a word of its own.
        let words = |columns: &[u32]| columns.len().div_ceil(64);
        self.edge.reset(64 * columns.clone().map(words).sum::<usize>())?;
        for (distance, columns) in distances.iter_mut().zip(columns.clone()) {
            *distance = columns.len() as u32;
        }
        for rows in rows.chunks(ROWS) {
            let [mut rises, mut falls] = self.edge.words();
            let in_strip = !0 >> (ROWS - rows.len());
            self.masks.with(rows, |masks| {
                for (columns, distance) in columns.clone().zip(&mut *distances) {
                    let (own_rises, rest) = std::mem::take(&mut rises).split_at_mut(words(columns));
                    rises = rest;
                    let (own_falls, rest) = std::mem::take(&mut falls).split_at_mut(words(columns));
                    falls = rest;
                    let column = strip(masks, columns, [own_rises, own_falls], |_, _| {});
                    *distance += (column.rises & in_strip).count_ones();
                    *distance -= (column.falls & in_strip).count_ones();
                    ticker.tick(columns.len())?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The distances of all beginnings of the reference to the whole hypothesis.
    fn distances(&mut self, reference: &[u32], hypothesis: &[u32], ticker: &Ticker<'_>) -> Result<Vec<usize>, Error> {
        let mut distances = vec![];
        grow(&mut distances, reference.len() + 1)?;
        distances[0] = hypothesis.len();
        self.edge.reset(hypothesis.len())?;
        for (rows, distances_of_strip) in reference.chunks(ROWS).zip((0..).step_by(ROWS)) {
            let column = self.masks.with(rows, |masks| strip(masks, hypothesis, self.edge.words(), |_, _| {}));
            ticker.tick(hypothesis.len())?;
            for row in 0..rows.len() {
                let step = (column.rises >> row & 1) as usize;
                let at = distances_of_strip + row;
                distances[at + 1] = distances[at] + step - (column.falls >> row & 1) as usize;
            }
        }
        Ok(distances)
    }

    /// Goes back from the end of both texts to the beginning.
    fn trace(
        &mut self,
        reference: &[u32],
        hypothesis: &[u32],
        steps: &mut impl Steps,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let (mut row, mut column) = (reference.len(), hypothesis.len());
        let strips = reference.len().div_ceil(ROWS);
        self.edge.reset(hypothesis.len())?;
        self.entries.clear();
        for (index, rows) in reference.chunks(ROWS).enumerate() {
            self.entries.push(self.edge.clone());
            if index + 1 < strips {
                self.masks.with(rows, |masks| strip(masks, hypothesis, self.edge.words(), |_, _| {}));
                ticker.tick(hypothesis.len())?;
            }
        }
        grow(&mut self.columns, hypothesis.len())?;
        for (index, edge) in self.entries.iter_mut().enumerate().rev() {
            let first = index * ROWS;
            let rows = &reference[first..reference.len().min(first + ROWS)];
            let columns = &mut self.columns;
            self.masks.with(rows, |masks| {
                strip(masks, &hypothesis[..column], edge.words(), |at, column| columns[at] = column);
            });
            ticker.tick(column)?;
            while row > first && column > 0 {
                let bit = 1 << (row - 1 - first);
                if columns[column - 1].rises & bit != 0 {
                    steps.step(Operation::Deletion, 1);
                    row -= 1;
                    continue;
                }
                column -= 1;
                if column > 0 && columns[column - 1].falls & bit != 0 {
                    steps.step(Operation::Insertion, 1);
                    continue;
                }
                row -= 1;
                let equal = reference[row] == hypothesis[column];
                steps.step(if equal { Operation::Hit } else { Operation::Substitution }, 1);
            }
        }
        steps.step(Operation::Deletion, row);
        steps.step(Operation::Insertion, column);
        Ok(())
    }
}

/// Computes a strip: its last column, and every one on the way. `edge` goes in from the strip above, and comes out for the
/// next.
#[inline]
fn strip(
    masks: &Masks,
    hypothesis: &[u32],
    [rises, falls]: [&mut [u64]; 2],
    mut each: impl FnMut(usize, Column),
) -> Column {
    let mut column = Column { rises: !0, falls: 0 };
    let edges = rises.iter_mut().zip(falls);
    for (index, (tokens, (edge_rises, edge_falls))) in hypothesis.chunks(64).zip(edges).enumerate() {
        let (mut out_rises, mut out_falls) = (0, 0);
        for (bit, &token) in tokens.iter().enumerate() {
            let (enter_rise, enter_fall) = (*edge_rises >> bit & 1, *edge_falls >> bit & 1);
            let equal = masks.of(token);
            let vertical = equal | column.falls;
            let equal = equal | enter_fall;
            let horizontal = ((equal & column.rises).wrapping_add(column.rises) ^ column.rises) | equal;
            let rises = column.falls | !(horizontal | column.rises);
            let falls = column.rises & horizontal;
            out_rises |= (rises >> (ROWS - 1)) << bit;
            out_falls |= (falls >> (ROWS - 1)) << bit;
            let (rises, falls) = (rises << 1 | enter_rise, falls << 1 | enter_fall);
            column = Column { rises: falls | !(vertical | rises), falls: rises & vertical };
            each(64 * index + bit, column);
        }
        (*edge_rises, *edge_falls) = (out_rises, out_falls);
    }
    column
}
