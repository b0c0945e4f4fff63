//! The longest common subsequence of two texts: its length, and which tokens belong to the one that ROUGE picks.
//!
//! The bits are Hyyrö's ("Bit-parallel LCS-length computation revisited", 2004): with L(i, j) the length for the first i rows
//! and the first j columns, bit i of v is 0 where L(i + 1, j) = L(i, j) + 1, and one addition moves all of them to the next
//! column.

use super::strips::{Bits, Masks, ROWS, WIDE, WORDS, WideMasks, grow};
use crate::error::Error;
use crate::parallel::Ticker;

/// What a thread keeps between pairs.
#[derive(Default)]
pub struct Scratch {
    masks: Masks,
    wide: WideMasks,
    carries: Bits,
    /// What goes into each strip, for the way back.
    entries: Vec<Bits>,
    /// The v of every column of a strip.
    columns: Vec<u64>,
}

impl Scratch {
    /// The length of the longest common subsequence of texts whose tokens are below `distinct`.
    pub fn length(
        &mut self,
        rows: &[u32],
        columns: &[u32],
        distinct: usize,
        ticker: &Ticker<'_>,
    ) -> Result<usize, Error> {
        if rows.len() <= ROWS {
            self.masks.reserve(distinct)?;
            let v = self.masks.with(rows, |masks| alone(masks, columns, |_, _| {}));
            return Ok(v.count_zeros() as usize);
        }
        if rows.len() <= WIDE {
            return Ok(wide(self.wide.of(rows, distinct, |row| (row / ROWS, row % ROWS))?, columns));
        }
        let mut length = [0];
        self.lengths(rows, &std::iter::once(columns), distinct, &mut length, ticker)?;
        Ok(length[0] as usize)
    }

    /// The same for many texts as columns.
    pub fn lengths<'a>(
        &mut self,
        rows: &[u32],
        columns: &(impl Iterator<Item = &'a [u32]> + Clone),
        distinct: usize,
        lengths: &mut [u32],
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        self.masks.reserve(distinct)?;
        // Each text begins with a word of its own.
        let words = |columns: &[u32]| columns.len().div_ceil(64);
        self.carries.reset(64 * columns.clone().map(words).sum::<usize>(), false)?;
        lengths.fill(0);
        for rows in rows.chunks(ROWS) {
            let mut carries = self.carries.words();
            self.masks.with(rows, |masks| {
                for (columns, length) in columns.clone().zip(&mut *lengths) {
                    let (own, rest) = std::mem::take(&mut carries).split_at_mut(words(columns));
                    carries = rest;
                    let v = strip(masks, columns, own, |_, _| {});
                    *length += (!v << (ROWS - rows.len())).count_ones();
                    ticker.tick(columns.len())?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The lengths for all beginnings of `rows`, from the empty one on.
    pub fn lengths_of_beginnings(
        &mut self,
        rows: &[u32],
        columns: &[u32],
        distinct: usize,
        ticker: &Ticker<'_>,
    ) -> Result<Vec<usize>, Error> {
        let mut lengths = vec![];
        grow(&mut lengths, rows.len() + 1)?;
        self.masks.reserve(distinct)?;
        self.carries.reset(columns.len(), false)?;
        for (rows, first) in rows.chunks(ROWS).zip((0..).step_by(ROWS)) {
            let v = self.masks.with(rows, |masks| strip(masks, columns, self.carries.words(), |_, _| {}));
            ticker.tick(columns.len())?;
            for row in 0..rows.len() {
                lengths[first + row + 1] = lengths[first + row] + (!v >> row & 1) as usize;
            }
        }
        Ok(lengths)
    }

    /// Marks the rows of the longest common subsequence with each of some texts.
    pub fn mark<'a>(
        &mut self,
        rows: &[u32],
        texts: impl Iterator<Item = &'a [u32]>,
        distinct: usize,
        marks: &mut [bool],
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        self.masks.reserve(distinct)?;
        if rows.len() > ROWS {
            return { texts }.try_for_each(|columns| self.mark_strips(rows, columns, marks, ticker));
        }
        let mut marked = 0;
        self.masks.with(rows, |masks| {
            for columns in texts {
                grow(&mut self.columns, columns.len())?;
                let mut all = self.columns.iter_mut();
                alone(masks, columns, |_, v| {
                    if let Some(each) = all.next() {
                        *each = v;
                    }
                });
                let strip = WayBack { masks, columns, all: &self.columns };
                marked |= strip.go(rows.len(), columns.len()).1;
                ticker.tick(columns.len())?;
            }
            Ok(())
        })?;
        mark_bits(marked, marks);
        Ok(())
    }

    fn mark_strips(
        &mut self,
        rows: &[u32],
        columns: &[u32],
        marks: &mut [bool],
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        self.carries.reset(columns.len(), false)?;
        self.entries.clear();
        let strips = rows.len().div_ceil(ROWS);
        for (index, rows) in rows.chunks(ROWS).enumerate() {
            self.entries.push(self.carries.clone());
            if index + 1 < strips {
                self.masks.with(rows, |masks| strip(masks, columns, self.carries.words(), |_, _| {}));
                ticker.tick(columns.len())?;
            }
        }
        grow(&mut self.columns, columns.len())?;
        let mut column = columns.len();
        for (index, carries) in self.entries.iter_mut().enumerate().rev() {
            let first = index * ROWS;
            let all = &mut self.columns;
            let rows = &rows[first..rows.len().min(first + ROWS)];
            // Only columns on the way back are looked at.
            let on_the_way = &columns[..column];
            ticker.tick(column)?;
            let marked;
            (column, marked) = self.masks.with(rows, |masks| {
                strip(masks, on_the_way, carries.words(), |at, v| all[at] = v);
                WayBack { masks, columns, all }.go(rows.len(), column)
            });
            mark_bits(marked, &mut marks[first..]);
        }
        Ok(())
    }
}

/// Marks what has a bit.
fn mark_bits(mut bits: u64, marks: &mut [bool]) {
    while bits != 0 {
        marks[bits.trailing_zeros() as usize] = true;
        bits &= bits - 1;
    }
}

/// A strip of which all v are known.
struct WayBack<'a> {
    masks: &'a Masks,
    columns: &'a [u32],
    all: &'a [u64],
}

impl WayBack<'_> {
    /// The rows of the longest common subsequence that is found from the end: equal tokens are taken, else the step is to the
    /// column before if that loses nothing and the row above would, else to the row above. Goes from a row and a column, whose
    /// number is one more than their index, and answers in which column the strip is left through its upper edge.
    ///
    /// Steps up through a column are one step: to the first row where the tokens are equal or the column before loses nothing.
    /// So nothing but the end has to be foretold.
    fn go(&self, mut row: usize, mut column: usize) -> (usize, u64) {
        let mut marked = 0;
        while row > 0 && column > 0 {
            let equal = self.masks.of(self.columns[column - 1]);
            let stops = (equal | !self.all[column - 1]) & (!0 >> (ROWS - row));
            row = ROWS - stops.leading_zeros() as usize;
            if row == 0 {
                break;
            }
            let taken = equal >> (row - 1) & 1;
            marked |= taken << (row - 1);
            row -= taken as usize;
            column -= 1;
        }
        (column, marked)
    }
}

/// Computes the only strip: its last v, and every one on the way. Rows that are none keep their ones.
#[inline]
pub(super) fn alone(masks: &Masks, columns: &[u32], mut each: impl FnMut(usize, u64)) -> u64 {
    let mut v = !0u64;
    for (at, &token) in columns.iter().enumerate() {
        let mask = masks.of(token);
        v = v.wrapping_add(v & mask) | (v & !mask);
        each(at, v);
    }
    v
}

/// The length where all rows lie in a few words.
fn wide(masks: &[[u64; WORDS]], columns: &[u32]) -> usize {
    let mut v = [!0u64; WORDS];
    for &token in columns {
        let mut carry = false;
        for (v, mask) in v.iter_mut().zip(masks[token as usize]) {
            let (sum, first) = v.overflowing_add(*v & mask);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first | second;
            *v = sum | (*v & !mask);
        }
    }
    v.iter().map(|v| v.count_zeros() as usize).sum()
}

/// Computes a strip: its last v, and every one on the way. `carries` goes in from the strip above, and comes out for the next.
#[inline]
fn strip(masks: &Masks, columns: &[u32], carries: &mut [u64], mut each: impl FnMut(usize, u64)) -> u64 {
    let mut v = !0u64;
    for (index, (chunk, carries)) in columns.chunks(64).zip(carries).enumerate() {
        let mut out = 0;
        for (bit, &token) in chunk.iter().enumerate() {
            let mask = masks.of(token);
            let (sum, first) = v.overflowing_add(v & mask);
            let (sum, second) = sum.overflowing_add(*carries >> bit & 1);
            out |= u64::from(first | second) << bit;
            v = sum | (v & !mask);
            each(64 * index + bit, v);
        }
        *carries = out;
    }
    v
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::ticking;

    fn table(rows: &[u32], columns: &[u32]) -> Vec<Vec<usize>> {
        let mut table = vec![vec![0; columns.len() + 1]; rows.len() + 1];
        for i in 1..=rows.len() {
            for j in 1..=columns.len() {
                table[i][j] = if rows[i - 1] == columns[j - 1] {
                    table[i - 1][j - 1] + 1
                } else {
                    table[i - 1][j].max(table[i][j - 1])
                };
            }
        }
        table
    }

    fn marked(rows: &[u32], columns: &[u32]) -> Vec<bool> {
        let table = table(rows, columns);
        let mut marks = vec![false; rows.len()];
        let (mut i, mut j) = (rows.len(), columns.len());
        while i > 0 && j > 0 {
            if rows[i - 1] == columns[j - 1] {
                marks[i - 1] = true;
                i -= 1;
                j -= 1;
            } else if table[i][j - 1] > table[i - 1][j] {
                j -= 1;
            } else {
                i -= 1;
            }
        }
        marks
    }

    #[test]
    fn strips_give_what_the_table_gives() {
        let mut state = 1u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let mut cases = vec![];
        for case in 0..400 {
            let longest = if case % 10 == 0 { 300 } else { 70 };
            let distinct = 1 + random(if case % 2 == 0 { 4 } else { 60 });
            let mut text = || (0..random(longest)).map(|_| random(distinct) as u32).collect::<Vec<u32>>();
            cases.push((text(), text(), distinct));
        }
        for rows in [0, 1, 63, 64, 65, 128] {
            cases.push(((0..rows).collect(), (0..200).collect(), 200));
        }
        ticking(|ticker| {
            let mut scratch = Scratch::default();
            for (rows, columns, distinct) in &cases {
                let length = scratch.length(rows, columns, *distinct, ticker).unwrap();
                assert_eq!(length, table(rows, columns)[rows.len()][columns.len()]);
                let lengths = scratch.lengths_of_beginnings(rows, columns, *distinct, ticker).unwrap();
                assert!(lengths.iter().zip(table(rows, columns)).all(|(&length, row)| length == row[columns.len()]));
                let mut marks = vec![false; rows.len()];
                scratch.mark(rows, std::iter::once(&columns[..]), *distinct, &mut marks, ticker).unwrap();
                assert_eq!(marks, marked(rows, columns));
            }
        });
    }
}
