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
    /// A token of the hypothesis, and one of the reference unless it is an insertion.
    #[inline(always)]
    fn across(&mut self, is_insertion: bool, are_equal: bool) {
        let aligned = if are_equal { Operation::Hit } else { Operation::Substitution };
        self.step(if is_insertion { Operation::Insertion } else { aligned }, 1);
    }
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

    /// Without a branch: which of the three it is cannot be foretold.
    #[inline(always)]
    fn across(&mut self, is_insertion: bool, are_equal: bool) {
        let aligned = i64::from(!is_insertion);
        let hit = aligned & i64::from(are_equal);
        self.insertions += 1 - aligned;
        self.hits += hit;
        self.substitutions += aligned - hit;
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

impl Column {
    /// The one before all, where every token of the reference is deleted.
    const FIRST: Self = Self { rises: !0, falls: 0 };

    /// The next one, and what crosses its lower edge, from the rows of its token and what crosses its upper edge.
    #[inline(always)]
    fn next(self, equal: u64, enter_rise: u64, enter_fall: u64) -> (Self, [u64; 2]) {
        let vertical = equal | self.falls;
        let equal = equal | enter_fall;
        let horizontal = ((equal & self.rises).wrapping_add(self.rises) ^ self.rises) | equal;
        let rises = self.falls | !(horizontal | self.rises);
        let falls = self.rises & horizontal;
        let out = [rises, falls].map(|bits| bits >> (ROWS - 1));
        let (rises, falls) = (rises << 1 | enter_rise, falls << 1 | enter_fall);
        (Self { rises: falls | !(vertical | rises), falls: rises & vertical }, out)
    }
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
        let mut cell = (reference.len(), hypothesis.len());
        grow(&mut self.columns, hypothesis.len() + 1)?;
        self.columns[0] = Column::FIRST;
        if reference.len() <= ROWS {
            self.masks.with(reference, |masks| {
                let mut column = Column::FIRST;
                for (&token, each) in hypothesis.iter().zip(&mut self.columns[1..]) {
                    column = column.next(masks.of(token), 1, 0).0;
                    *each = column;
                }
            });
            ticker.tick(hypothesis.len())?;
            cell = way_back(reference, hypothesis, &self.columns, 0, cell, steps);
            steps.step(Operation::Deletion, cell.0);
            steps.step(Operation::Insertion, cell.1);
            return Ok(());
        }
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
        for (index, edge) in self.entries.iter_mut().enumerate().rev() {
            let first = index * ROWS;
            let rows = &reference[first..reference.len().min(first + ROWS)];
            let columns = &mut self.columns;
            self.masks.with(rows, |masks| {
                strip(masks, &hypothesis[..cell.1], edge.words(), |at, column| columns[at + 1] = column);
            });
            ticker.tick(cell.1)?;
            cell = way_back(reference, hypothesis, columns, first, cell, steps);
        }
        steps.step(Operation::Deletion, cell.0);
        steps.step(Operation::Insertion, cell.1);
        Ok(())
    }
}

/// Goes back from a cell through a strip, of which all columns are known, from the one before the first token on, up to its
/// `first` row. Deletions in a row are one step.
#[inline]
fn way_back(
    reference: &[u32],
    hypothesis: &[u32],
    columns: &[Column],
    first: usize,
    (row, mut column): (usize, usize),
    steps: &mut impl Steps,
) -> (usize, usize) {
    let reference = &reference[first..];
    let mut row = row - first;
    while row > 0 && column > 0 {
        let stops = !columns[column].rises & (!0 >> (ROWS - row));
        let stop = ROWS - stops.leading_zeros() as usize;
        steps.step(Operation::Deletion, row - stop);
        row = stop;
        if row == 0 {
            break;
        }
        column -= 1;
        let is_insertion = columns[column].falls >> (row - 1) & 1 != 0;
        steps.across(is_insertion, reference[row - 1] == hypothesis[column]);
        row -= usize::from(!is_insertion);
    }
    (first + row, column)
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
    let mut column = Column::FIRST;
    let edges = rises.iter_mut().zip(falls);
    for (index, (tokens, (edge_rises, edge_falls))) in hypothesis.chunks(64).zip(edges).enumerate() {
        let (mut out_rises, mut out_falls) = (0, 0);
        for (bit, &token) in tokens.iter().enumerate() {
            let (next, [rises, falls]) = column.next(masks.of(token), *edge_rises >> bit & 1, *edge_falls >> bit & 1);
            column = next;
            out_rises |= rises << bit;
            out_falls |= falls << bit;
            each(64 * index + bit, column);
        }
        (*edge_rises, *edge_falls) = (out_rises, out_falls);
    }
    column
}
