//! Text: from strings or token ids to statistics, and from statistics to scores.
//!
//! A metric counts each pair into a row of integers; rows add up, and one formula turns a row into a score: of one pair,
//! or of the whole corpus from the sum of the rows. (ROUGE's corpus score is the mean over pairs instead.)
//!
//! ```text
//! strings, ids ─ tokens.rs ─▶ Pairs ─ tokenize.rs, spans.rs, tercom.rs, stem.rs ─▶ Pair
//! Pair ─ ngrams.rs, subsequence.rs, alignment.rs, shifts.rs ─▶ rows
//! rows ─ bleu.rs, chrf.rs, ter.rs, rouge.rs, error_rate.rs ─▶ scores        rows ─ resample.rs ─▶ scores of resampled corpora
//! ```

pub mod alignment;
pub mod answers;
pub mod bleu;
pub mod chrf;
pub mod cider;
pub mod classes;
pub mod diversity;
pub mod error_rate;
pub mod gleu;
pub mod grams;
pub mod ngrams;
pub mod nltk;
pub mod pairwise;
pub mod prefix;
pub mod resample;
pub mod rouge;
pub mod scripts;
pub mod separate;
pub mod shifts;
pub mod spans;
pub mod stem;
pub mod strips;
pub mod subsequence;
pub mod ter;
pub mod tercom;
pub mod tokenize;
pub mod tokens;
pub mod unicode;
pub mod vocabulary;

use std::borrow::Cow;

use crate::error::Error;
use crate::exact::Exact;
use crate::input::zeros;
use crate::parallel::{Ticker, Watch, for_each};
use tokens::{Pair, Pairs, Reader};

/// What is scored: one pair, or the sum of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One hypothesis against its references.
    Sentence,
    /// All of them together.
    Corpus,
}

/// Counts that add up, and a score of the counts.
pub trait Metric: Sync {
    /// What a thread keeps between pairs.
    type Scratch: Default;

    /// How many integers a row has.
    fn width(&self) -> usize;
    /// The same metric for rows of that width, if it has such rows.
    fn with_width(&self, width: usize) -> Option<Cow<'_, Self>>
    where
        Self: Clone,
    {
        (width == self.width()).then_some(Cow::Borrowed(self))
    }
    /// The same metric with rows that are wide enough for these pairs.
    fn for_pairs(&self, _: &Pairs) -> Cow<'_, Self>
    where
        Self: Clone,
    {
        Cow::Borrowed(self)
    }
    /// The option that needs strings, if there is one.
    fn wants_strings(&self) -> Option<&'static str> {
        None
    }
    /// The score, as its users know it, that belongs to a ratio of 1.
    fn scale(&self) -> f64 {
        1.0
    }
    /// Cuts a string into tokens.
    fn read(&self, text: &str, reader: &mut Reader<'_, '_>);
    /// Counts a pair.
    fn count(
        &self,
        pair: &Pair,
        row: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error>;
    /// What of a row is counts, if there is room for more.
    fn counts<'a>(&self, row: &'a [i64]) -> &'a [i64] {
        row
    }
    /// Says what is wrong with counts that no pair can have.
    fn check(&self, row: &[i64]) -> Result<(), String>;
    /// The score of a row, as a ratio.
    fn score(&self, row: &[i64], level: Level) -> f64;

    /// Whether the score of a corpus is that of the sum of its rows; else it is the mean of their scores.
    fn adds_up(&self) -> bool {
        true
    }

    /// The score of a corpus; a mean over no rows is NaN.
    fn corpus(&self, rows: &[i64]) -> Result<f64, Error> {
        if self.adds_up() {
            return Ok(self.score(&sum(rows, self.width())?, Level::Corpus));
        }
        let scores = rows.chunks(self.width()).map(|row| self.score(row, Level::Sentence));
        let count = scores.len() as f64;
        Ok(scores.collect::<Exact>().value() / count)
    }
}

/// sacrebleu tells its metrics on this scale.
pub const PERCENT: f64 = 100.0;

/// About how many numbers of other losses take as long as a byte of text.
pub const WORK_PER_BYTE: usize = 8;
/// How many pairs a thread takes at once.
const RUN: usize = 16;

/// The row of every pair, one after another.
pub fn statistics<M: Metric>(metric: &M, pairs: &Pairs, watch: &Watch<'_>) -> Result<Vec<i64>, Error> {
    tell(metric, Told::Rows, pairs, watch)
}

/// The score of every pair.
pub fn scores_of_pairs<M: Metric>(metric: &M, pairs: &Pairs, watch: &Watch<'_>) -> Result<Vec<f64>, Error> {
    let scores = tell(metric, Told::Scores, pairs, watch)?;
    Ok(scores.into_iter().map(|bits| f64::from_bits(bits as u64)).collect())
}

/// What is told of every pair: its row, or the bits of the score of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Rows,
    Scores,
}

/// One function for both, which is compiled once for every metric.
fn tell<M: Metric>(metric: &M, told: Told, pairs: &Pairs, watch: &Watch<'_>) -> Result<Vec<i64>, Error> {
    let (width, are_rows) = (metric.width(), told == Told::Rows);
    let items_of_pair = if are_rows { width } else { 1 };
    let mut items = zeros::<i64>(pairs.len().saturating_mul(items_of_pair))?;
    for_each_pair(
        (&mut items, items_of_pair),
        pairs,
        watch,
        |text, reader| metric.read(text, reader),
        |pair, items, (row, scratch): &mut (Vec<i64>, M::Scratch), ticker| {
            row.clear();
            row.resize(if are_rows { 0 } else { width }, 0);
            metric.count(pair, if are_rows { items } else { row }, scratch, ticker)?;
            if !are_rows {
                items[0] = metric.score(row, Level::Sentence).to_bits() as i64;
            }
            Ok(())
        },
    )?;
    Ok(items)
}

/// Reads every pair and lets `count` fill its items, of which each has so many.
fn for_each_pair<T: Send, S: Default>(
    (items, width): (&mut [T], usize),
    pairs: &Pairs,
    watch: &Watch<'_>,
    read: impl Fn(&str, &mut Reader<'_, '_>) + Sync,
    count: impl Fn(&Pair, &mut [T], &mut S, &Ticker<'_>) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let runs = items.chunks_mut(RUN * width).enumerate();
    let work = pairs.bytes().saturating_mul(WORK_PER_BYTE);
    let scratch = || Ok((Pair::default(), S::default()));
    for_each(runs, work, watch, scratch, |(run, items), (pair, scratch), ticker| {
        for (offset, items) in items.chunks_mut(width).enumerate() {
            pairs.read(run * RUN + offset, &read, pair, ticker)?;
            count(pair, items, scratch, ticker)?;
            ticker.tick(WORK_PER_BYTE * pair.len())?;
        }
        Ok(())
    })
}

/// The score of every row.
pub fn scores<M: Metric>(metric: &M, rows: &[i64]) -> Vec<f64> {
    rows.chunks(metric.width()).map(|row| metric.score(row, Level::Sentence)).collect()
}

/// The loss that belongs to a score in [0, 1].
pub fn loss(score: f64) -> f64 {
    (1.0 - score).clamp(0.0, 1.0)
}

/// The sum of rows.
pub fn sum(rows: &[i64], width: usize) -> Result<Vec<i64>, Error> {
    let mut sum = vec![0i64; width];
    for row in rows.chunks(width) {
        for (column, (sum, value)) in sum.iter_mut().zip(row).enumerate() {
            *sum = sum.checked_add(*value).ok_or_else(|| {
                Error::Value(format!("rows[:, {column}] has a sum that does not fit into a 64-bit integer"))
            })?;
        }
    }
    Ok(sum)
}

/// Checks rows that somebody else has made.
pub fn check<M: Metric>(metric: &M, name: &str, rows: &[i64]) -> Result<(), Error> {
    for (index, row) in rows.chunks(metric.width()).map(|row| metric.counts(row)).enumerate() {
        if let Some(column) = row.iter().position(|&value| value < 0) {
            return Err(Error::range(name, &[index, column], row[column], "a count"));
        }
        metric.check(row).map_err(|wrong| Error::Value(format!("{name}[{index}] has {wrong}")))?;
    }
    Ok(())
}
