//! The edits of TER: how many words to insert, delete, replace, and how many runs of words to shift, until a hypothesis is
//! its reference, found greedily as sacrebleu does after tercom (Snover et al. 2006, <https://aclanthology.org/2006.amta-papers.25/>).
//!
//! The shift that lowers the edit distance most is done, and again, until none lowers it. Candidates are runs of words that
//! the reference has too, both with an error in their alignment, which are moved to where the reference's are aligned.
//!
//! The edit distance is that of tercom's beam: D(i, j), of the first i words of the hypothesis and the first j of the
//! reference, is known only where j is near i · reference / hypothesis. So a row of D fits into a word of bits (Myers 1999,
//! <https://doi.org/10.1145/316542.316550>): in `rises` there is a bit where D(i, j) = D(i, j − 1) + 1, in `falls` where it is
//! D(i, j − 1) − 1. This is exact: what lies outside of the beam never wins, if from one row to the next (1) right of the
//! beam every cell is one more than the cell before it, (2) no word is equal to one whose diagonal comes from outside, and
//! (3) the cell left of the beam is one more than the one above it. Beams that are too wide for a word belong to
//! references fifty times as long as the hypothesis: few rows, which are computed cell by cell.
//!
//! A shift permutes the words of a few rows. Above them nothing changes, and below them nothing but a constant once a row
//! has the bits that it had before.

use super::strips::grow;
use crate::error::Error;
use crate::parallel::Ticker;

/// tercom's limits: words of a run, between the places of a run in both texts, half the width of the beam.
const LONGEST_RUN: usize = 10;
const FARTHEST: usize = 50;
const BEAM: usize = 25;
/// sacrebleu's limit to the candidates that it tries for a pair; when it is reached, the best one is not used.
const MOST_CANDIDATES: usize = 1000;
/// What no cell of a table costs.
const OUTSIDE: u32 = u32::MAX / 2;

/// What a thread keeps between pairs.
#[derive(Default)]
pub struct Scratch {
    places: Places,
    beam: Vec<Columns>,
    /// The words of the hypothesis, shifted so far.
    words: Vec<u32>,
    rows: Vec<Row>,
    /// Instead of `rows` where the beam is wide: cells, row after row, of the words and of a candidate.
    cells: Vec<u32>,
    cells_of_candidate: Vec<u32>,
    candidate: Vec<u32>,
    alignment: Alignment,
}

/// The columns of a row that are inside the beam.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Columns {
    start: usize,
    end: usize,
    /// How many cells there are in the rows above.
    above: usize,
}

/// A row of D: the cost of its first cell inside the beam, and the steps to the following ones.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    cost: u32,
    rises: u64,
    falls: u64,
    /// In which of the columns that are computed from the row above the words are equal.
    equal: u64,
}

/// Of D's least path, which prefers the diagonal, then the row above.
#[derive(Default)]
struct Alignment {
    /// How many words of the hypothesis stand before what follows each word of the reference.
    after: Vec<u32>,
    errors_of_reference: Vec<bool>,
    errors_of_hypothesis: Vec<bool>,
}

/// Words `start..end`, rotated to the left.
#[derive(Debug, Clone, Copy)]
struct Shift {
    start: usize,
    end: usize,
    left: usize,
}

impl Shift {
    /// Moves a run so that it begins at `target`, or follows what it would end in.
    fn new(start: usize, length: usize, target: usize, words: usize) -> Self {
        if target < start {
            Self { start: target, end: start + length, left: start - target }
        } else {
            // A target inside of the run is counted from its end.
            let end = if target > start + length { target } else { words.min(target + length) };
            Self { start, end, left: length }
        }
    }

    /// Which word comes to a place inside.
    fn source(self, place: usize) -> usize {
        let place = place + self.left;
        if place < self.end { place } else { place - (self.end - self.start) }
    }
}

impl Scratch {
    /// Counts the edits between texts whose words are below `distinct`.
    pub fn edits(
        &mut self,
        hypothesis: &[u32],
        reference: &[u32],
        distinct: usize,
        ticker: &Ticker<'_>,
    ) -> Result<i64, Error> {
        if reference.is_empty() || hypothesis.is_empty() {
            return Ok(hypothesis.len().max(reference.len()) as i64);
        }
        self.places.set(reference, distinct)?;
        self.words.clear();
        grow(&mut self.words, hypothesis.len())?;
        self.words.copy_from_slice(hypothesis);
        let mut search = Search { is_wide: self.set_beam(reference.len())?, reference, ticker, candidates: 0 };
        let mut shifts = 0;
        let mut first = 0;
        loop {
            let distance = self.fill(first, &search)?;
            let Some(shift) = self.best_shift(distance, &mut search)? else {
                return Ok(shifts + i64::from(distance));
            };
            self.words[shift.start..shift.end].rotate_left(shift.left);
            first = shift.start;
            shifts += 1;
        }
    }

    /// Sets the columns of each row, and says whether they are too many for a word.
    fn set_beam(&mut self, reference: usize) -> Result<bool, Error> {
        let rows = self.words.len();
        let ratio = reference as f64 / rows as f64;
        let is_wide = ratio / 2.0 > BEAM as f64;
        let half = if is_wide { (ratio / 2.0 + BEAM as f64).ceil() as usize } else { BEAM };
        self.beam.clear();
        grow(&mut self.beam, rows + 1)?;
        self.beam[0] = Columns { start: 0, end: reference + 1, above: 0 };
        let mut above = reference + 1;
        for (row, columns) in self.beam.iter_mut().enumerate().skip(1) {
            let middle = (row as f64 * ratio).floor() as usize;
            let end = if row == rows { reference + 1 } else { (middle + half).min(reference + 1) };
            let start = middle.saturating_sub(half);
            *columns = Columns { start, end, above };
            above += end - start;
        }
        Ok(is_wide)
    }

    /// Computes D from row `first` on, and returns the distance.
    fn fill(&mut self, first: usize, search: &Search<'_>) -> Result<u32, Error> {
        if search.is_wide {
            return table(&self.beam, &self.words, search, &mut self.cells);
        }
        grow(&mut self.rows, self.words.len() + 1)?;
        self.rows[0] = Row { cost: 0, rises: !0, falls: 0, equal: 0 };
        for row in first..self.words.len() {
            let between = Between::new(self.beam[row], self.beam[row + 1]);
            let equal = between.equal(&self.places, self.words[row]);
            self.rows[row + 1] = between.step(&self.rows[row], equal);
        }
        search.ticker.tick(8 * (self.words.len() - first))?;
        Ok(self.cost(self.words.len(), search.reference.len(), search.is_wide))
    }

    /// D(row, column).
    fn cost(&self, row: usize, column: usize, is_wide: bool) -> u32 {
        let Columns { start, end, above } = self.beam[row];
        if !(start..end).contains(&column) {
            return OUTSIDE;
        }
        if row == 0 {
            return column as u32;
        }
        if is_wide {
            return self.cells[above + column - start];
        }
        self.rows[row].after(column - start)
    }

    /// Goes back from the end of both texts to the beginning.
    fn align(&mut self, distance: u32, search: &Search<'_>) -> Result<(), Error> {
        let reference = search.reference;
        let (mut row, mut column, mut cost) = (self.words.len(), reference.len(), distance);
        let mut alignment = std::mem::take(&mut self.alignment);
        grow(&mut alignment.after, column)?;
        grow(&mut alignment.errors_of_reference, column)?;
        grow(&mut alignment.errors_of_hypothesis, row)?;
        while row > 0 || column > 0 {
            let is_error = row == 0 || column == 0 || self.words[row - 1] != reference[column - 1];
            if row > 0 && column > 0 {
                let diagonal = self.cost(row - 1, column - 1, search.is_wide);
                if diagonal + u32::from(is_error) == cost {
                    (row, column, cost) = (row - 1, column - 1, diagonal);
                    alignment.after[column] = row as u32 + 1;
                    alignment.errors_of_reference[column] = is_error;
                    alignment.errors_of_hypothesis[row] = is_error;
                    continue;
                }
            }
            cost -= 1;
            if row > 0 && self.cost(row - 1, column, search.is_wide) == cost {
                row -= 1;
                alignment.errors_of_hypothesis[row] = true;
            } else {
                column -= 1;
                alignment.after[column] = row as u32;
                alignment.errors_of_reference[column] = true;
            }
        }
        self.alignment = alignment;
        search.ticker.tick(8 * (self.words.len() + reference.len()))
    }

    /// The shift that gains most, of those that gain anything: the longest of equals, the first, the one to the first place.
    fn best_shift(&mut self, distance: u32, search: &mut Search<'_>) -> Result<Option<Shift>, Error> {
        if distance == 0 {
            return Ok(None);
        }
        self.align(distance, search)?;
        let (words, reference) = (self.words.len(), search.reference);
        let mut best = None;
        let mut best_rank = (0, 0);
        for start in 0..words {
            let near = start.saturating_sub(FARTHEST)..reference.len().min(start + FARTHEST + 1);
            for index in self.places.range(self.words[start], near) {
                let start_of_reference = self.places.of[index] as usize;
                let both = self.words[start..].iter().zip(&reference[start_of_reference..]);
                let longest = both.take(LONGEST_RUN).take_while(|(word, other)| word == other).count();
                let (mut has_error, mut reference_has_error) = (false, false);
                for length in 1..=longest {
                    let last = length - 1;
                    has_error |= self.alignment.errors_of_hypothesis[start + last];
                    reference_has_error |= self.alignment.errors_of_reference[start_of_reference + last];
                    let aligned = self.alignment.after[start_of_reference] as usize;
                    if !has_error || !reference_has_error || (start + 1..=start + length).contains(&aligned) {
                        continue;
                    }
                    let mut before = None;
                    for place in start_of_reference..=start_of_reference + length {
                        let target = place.checked_sub(1).map_or(0, |place| self.alignment.after[place] as usize);
                        if before == Some(target) {
                            continue;
                        }
                        before = Some(target);
                        search.candidates += 1;
                        let shift = Shift::new(start, length, target, words);
                        let shifted = self.shifted_distance(shift, distance, search)?;
                        let rank = (i64::from(distance) - i64::from(shifted), length);
                        // Among equals later starts never win, and neither do later targets.
                        let is_first =
                            best.is_none_or(|(best_start, best_target, _)| (start, target) < (best_start, best_target));
                        if rank.0 > 0 && (rank > best_rank || rank == best_rank && is_first) {
                            best_rank = rank;
                            best = Some((start, target, shift));
                        }
                    }
                    if search.candidates >= MOST_CANDIDATES {
                        // What was found would not be used.
                        return Ok(None);
                    }
                }
            }
            search.ticker.tick(8)?;
        }
        Ok(best.map(|(_, _, shift)| shift))
    }

    /// The distance after a shift.
    fn shifted_distance(&mut self, shift: Shift, distance: u32, search: &Search<'_>) -> Result<u32, Error> {
        if search.is_wide {
            self.candidate.clone_from(&self.words);
            self.candidate[shift.start..shift.end].rotate_left(shift.left);
            return table(&self.beam, &self.candidate, search, &mut self.cells_of_candidate);
        }
        let mut row = self.rows[shift.start];
        for place in shift.start..shift.end {
            let between = Between::new(self.beam[place], self.beam[place + 1]);
            let equal = between.equal(&self.places, self.words[shift.source(place)]);
            row = between.step(&row, equal);
        }
        for (place, old) in self.rows[..self.words.len()].iter().enumerate().skip(shift.end) {
            if row.rises == old.rises && row.falls == old.falls {
                search.ticker.tick(8 * (place - shift.start))?;
                return Ok(distance + row.cost - old.cost);
            }
            row = Between::new(self.beam[place], self.beam[place + 1]).step(&row, self.rows[place + 1].equal);
        }
        search.ticker.tick(8 * (self.words.len() - shift.start))?;
        let last = self.beam[self.words.len()];
        Ok(row.after(last.end - 1 - last.start))
    }
}

/// What stays the same while shifts are looked for.
struct Search<'a> {
    reference: &'a [u32],
    is_wide: bool,
    candidates: usize,
    ticker: &'a Ticker<'a>,
}

/// Bits 0 to `count` − 1.
fn lowest(count: usize) -> u64 {
    if count < 64 { (1 << count) - 1 } else { !0 }
}

impl Row {
    /// The cost of a cell after `steps`.
    fn after(&self, steps: usize) -> u32 {
        let mask = lowest(steps);
        self.cost + (self.rises & mask).count_ones() - (self.falls & mask).count_ones()
    }
}

/// From a row to the next.
#[derive(Clone, Copy)]
struct Between {
    /// The columns that are computed with words of the reference: the first has a cell to its left, in the row above.
    first: usize,
    /// How many columns the first lies behind the beginning of the row above, and before that of the row.
    behind: usize,
    moves: bool,
    /// The end of what words of the reference can be equal in.
    end: usize,
    steps: usize,
}

impl Between {
    fn new(above: Columns, row: Columns) -> Self {
        let moves = row.start > above.start;
        // The cell from which the row is entered: the one before it, or its own first.
        let first = if moves { row.start - 1 } else { row.start };
        let end = above.end.min(row.end - 1);
        Self { first, behind: first - above.start, moves, end, steps: row.end - 1 - row.start }
    }

    /// Where a word of the hypothesis is equal to one of the reference.
    fn equal(&self, places: &Places, word: u32) -> u64 {
        let range = places.range(word, self.first..self.end);
        places.of[range].iter().fold(0, |equal, &place| equal | 1 << (place as usize - self.first))
    }

    #[inline]
    fn step(&self, above: &Row, equal: u64) -> Row {
        // One more than the cell above: outside of the beam, or the first word of the hypothesis deleted.
        let mut cost = above.after(self.behind) + 1;
        let rises = above.rises >> self.behind | !(!0 >> self.behind);
        let falls = above.falls >> self.behind;
        let vertical = equal | falls;
        let horizontal = ((equal & rises).wrapping_add(rises) ^ rises) | equal;
        let up = (falls | !(horizontal | rises)) << 1 | 1;
        let down = (rises & horizontal) << 1;
        let (mut rises, mut falls) = (down | !(vertical | up), up & vertical);
        if self.moves {
            cost = cost + (rises & 1) as u32 - (falls & 1) as u32;
            (rises, falls) = (rises >> 1, falls >> 1);
        }
        let inside = lowest(self.steps);
        Row { cost, rises: rises | !inside, falls: falls & inside, equal }
    }
}

/// The same cell by cell: fills `cells`, row after row, and returns the last.
fn table(beam: &[Columns], words: &[u32], search: &Search<'_>, cells: &mut Vec<u32>) -> Result<u32, Error> {
    cells.clear();
    let last = beam[words.len()];
    grow(cells, last.above + last.end - last.start)?;
    let (mut above, mut rest) = cells.split_at_mut(beam[0].end);
    for (column, cell) in above.iter_mut().enumerate() {
        *cell = column as u32;
    }
    for (pair, &word) in beam.windows(2).zip(words) {
        let [before, columns] = [pair[0], pair[1]];
        let (row, following) = rest.split_at_mut(columns.end - columns.start);
        let mut left = OUTSIDE;
        for (cell, column) in row.iter_mut().zip(columns.start..) {
            let of_above = |column: usize| match column.checked_sub(before.start) {
                Some(index) if column < before.end => above[index],
                _ => OUTSIDE,
            };
            let diagonal = column
                .checked_sub(1)
                .map_or(OUTSIDE, |column| of_above(column) + u32::from(word != search.reference[column]));
            left = diagonal.min(of_above(column) + 1).min(left + 1).min(OUTSIDE);
            *cell = left;
        }
        search.ticker.tick(row.len())?;
        (above, rest) = (row, following);
    }
    Ok(above[above.len() - 1])
}

/// Where each word stands in the reference.
#[derive(Default)]
struct Places {
    /// The places of the first word, then of the second, and so on; each ascending.
    of: Vec<u32>,
    /// Where the places of each word end.
    ends: Vec<u32>,
}

impl Places {
    fn set(&mut self, reference: &[u32], distinct: usize) -> Result<(), Error> {
        self.ends.clear();
        grow(&mut self.ends, distinct + 1)?;
        for &word in reference {
            self.ends[word as usize + 1] += 1;
        }
        let mut end = 0;
        for count in &mut self.ends {
            end += *count;
            *count = end;
        }
        grow(&mut self.of, reference.len())?;
        // Now `ends` holds where the places of each word begin; each that is written moves it on.
        for (place, &word) in reference.iter().enumerate() {
            let next = &mut self.ends[word as usize];
            self.of[*next as usize] = place as u32;
            *next += 1;
        }
        Ok(())
    }

    /// Which of the places lie in a range.
    #[inline]
    fn range(&self, word: u32, range: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let word = word as usize;
        let first = if word == 0 { 0 } else { self.ends[word - 1] as usize };
        let all = &self.of[first..self.ends[word] as usize];
        let start = all.partition_point(|&place| (place as usize) < range.start);
        let end = start + all[start..].partition_point(|&place| (place as usize) < range.end);
        first + start..first + end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::{Watch, for_each};

    #[test]
    fn bits_give_what_the_table_gives() {
        let mut state = 7u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let check = |scratch: &mut Scratch, ticker: &Ticker<'_>| -> Result<(), Error> {
            let shapes = [(9, 9), (40, 30), (30, 70), (3, 140), (120, 5), (90, 100)];
            for round in 0..300 {
                let distinct = [2, 5, 60][round % 3];
                let (rows, columns) = shapes[round % shapes.len()];
                let mut text = |most: usize| (0..=random(most)).map(|_| random(distinct) as u32).collect::<Vec<u32>>();
                let (hypothesis, reference) = (text(rows), text(columns));
                let words = hypothesis.len();
                scratch.places.set(&reference, distinct)?;
                scratch.words.clone_from(&hypothesis);
                if scratch.set_beam(reference.len())? {
                    continue;
                }
                let search = Search { is_wide: false, reference: &reference, ticker, candidates: 0 };
                let distance = scratch.fill(0, &search)?;
                let mut cells = vec![];
                assert_eq!(distance, table(&scratch.beam, &hypothesis, &search, &mut cells)?);
                for (row, columns) in scratch.beam.iter().enumerate() {
                    for column in columns.start..columns.end {
                        let cell = cells[columns.above + column - columns.start];
                        assert_eq!(scratch.cost(row, column, false), cell, "round {round}, row {row}, column {column}");
                    }
                }
                for _ in 0..20 {
                    let start = random(words);
                    let shift = Shift::new(start, 1 + random(words - start), random(words + 1), words);
                    let mut shifted = hypothesis.clone();
                    shifted[shift.start..shift.end].rotate_left(shift.left);
                    let expected = table(&scratch.beam, &shifted, &search, &mut cells)?;
                    assert_eq!(scratch.shifted_distance(shift, distance, &search)?, expected, "{shift:?}");
                    for (place, &word) in shifted.iter().enumerate().take(shift.end).skip(shift.start) {
                        assert_eq!(word, hypothesis[shift.source(place)]);
                    }
                }
            }
            Ok(())
        };
        let check = std::sync::Mutex::new(check);
        let scratch = || Ok(Scratch::default());
        for_each(0..1, 1, &Watch::never(), scratch, |_, scratch, ticker| check.lock().unwrap()(scratch, ticker))
            .unwrap();
    }
}
