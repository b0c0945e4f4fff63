//! ROUGE (Lin 2004, <https://aclanthology.org/W04-1013/>), as rouge-score 0.1.2 computes it.
//!
//! precision = hits / hypothesis    recall = hits / reference    F = 2 · precision · recall / (precision + recall)
//!
//! ROUGE-N counts n-grams, ROUGE-L the longest common subsequence of tokens. ROUGE-Lsum takes the lines of both texts: for
//! each line of the reference, the union of its longest common subsequences with every line of the hypothesis, in which a
//! token counts no more often than it occurs in either text. Token ids have no lines, so there Lsum is L.
//!
//! Of several references the one with the best F counts, the first of equals; or each measure is the mean over all of them.

use std::borrow::Cow;

use super::ngrams::{self, clipped_matches, take_rows};
use super::scripts;
use super::stem::{STEMS, Stems};
use super::strips::{Masks, ROWS, grow};
use super::subsequence::{self, alone};
use super::tokenize::read_alphanumeric;
use super::tokens::{Pair, Pairs, Reader, Text};
use super::{Level, Metric, for_each_pair};
use crate::error::Error;
use crate::exact::Exact;
use crate::input::zeros;
use crate::parallel::{Ticker, Watch};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// n-grams of this length.
    Ngrams(usize),
    /// The longest common subsequence.
    Subsequence,
    /// The same line by line.
    Summary,
}

/// The longest n-grams that rouge-score counts.
const LONGEST: usize = 9;

impl Variant {
    /// The names by which users know them.
    pub const NAMES: &[&str] = &[
        "rouge1",
        "rouge2",
        "rouge3",
        "rouge4",
        "rouge5",
        "rouge6",
        "rouge7",
        "rouge8",
        "rouge9",
        "rougeL",
        "rougeLsum",
    ];

    fn named(name: &str) -> Option<Self> {
        let index = Self::NAMES.iter().position(|&known| known == name)?;
        Some(match index {
            LONGEST => Self::Subsequence,
            10 => Self::Summary,
            _ => Self::Ngrams(index + 1),
        })
    }
}

/// What is told of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The harmonic mean of both.
    F,
    /// Hits over what the hypothesis has.
    Precision,
    /// Hits over what the reference has.
    Recall,
}

impl Measure {
    /// The names by which users know them.
    pub const NAMES: &[&str] = &["f", "precision", "recall"];

    fn named(name: &str) -> Option<Self> {
        match name {
            "f" => Some(Self::F),
            "precision" => Some(Self::Precision),
            "recall" => Some(Self::Recall),
            _ => None,
        }
    }

    /// The measure of a row: the mean over the references that it has.
    pub fn of(self, row: &[i64]) -> f64 {
        let row = counts(row);
        let count = row.len() / WIDTH;
        row.chunks(WIDTH).map(|counts| self.of_counts(counts)).sum::<f64>() / count as f64
    }

    /// The measure of hits, hypothesis, reference.
    fn of_counts(self, row: &[i64]) -> f64 {
        let [hits, hypothesis, reference] = [row[0], row[1].max(1), row[2].max(1)].map(|count| count as f64);
        let (precision, recall) = (hits / hypothesis, hits / reference);
        match self {
            Self::Precision => precision,
            Self::Recall => recall,
            Self::F if precision + recall > 0.0 => 2.0 * precision * recall / (precision + recall),
            Self::F => 0.0,
        }
    }
}

/// Hits, hypothesis, reference.
const WIDTH: usize = 3;
/// Stands in a row for the counts of references that its hypothesis has not.
const MISSING: i64 = -1;

/// The counts of a row without those that are missing.
fn counts(row: &[i64]) -> &[i64] {
    let is_missing = |counts: &&[i64]| counts.iter().all(|&count| count == MISSING);
    &row[..row.len() - WIDTH * row[WIDTH..].rchunks(WIDTH).take_while(is_missing).count()]
}

/// What several references count for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Several {
    /// The one with the best F.
    Best,
    /// All alike; a row has room for so many.
    Mean(usize),
}

/// How a text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// rouge-score's runs of ASCII letters and digits, stemmed or not.
    Ascii { stem: bool },
    /// Words of every script.
    Unicode,
}

/// How ROUGE is computed.
#[derive(Debug, Clone)]
pub struct Rouge {
    variant: Variant,
    measure: Measure,
    words: Words,
    several: Several,
}

impl Rouge {
    /// Checks the options.
    pub fn new(variant: &str, measure: &str, stem: bool) -> Result<Self, Error> {
        let choice = |argument, value: &str, choices| Error::Choice { argument, value: value.to_owned(), choices };
        Ok(Self {
            variant: Variant::named(variant).ok_or_else(|| choice("variant", variant, Variant::NAMES))?,
            measure: Measure::named(measure).ok_or_else(|| choice("measure", measure, Measure::NAMES))?,
            words: Words::Ascii { stem },
            several: Several::Best,
        })
    }

    /// Whether all references of a hypothesis count alike.
    pub(super) fn is_mean(&self) -> bool {
        matches!(self.several, Several::Mean(_))
    }

    /// What is counted.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// How many units of what is counted so many tokens have.
    pub(super) fn units(&self, tokens: usize) -> i64 {
        let order = if let Variant::Ngrams(order) = self.variant { order } else { 1 };
        (tokens + 1).saturating_sub(order) as i64
    }

    /// The same with another way to cut texts: `"ascii"` or `"unicode"`.
    pub fn with_tokenizer(self, tokenize: &str) -> Result<Self, Error> {
        let words = match (tokenize, self.words) {
            ("ascii", words) => words,
            ("unicode", Words::Ascii { stem: true }) => {
                return Err(Error::Value("stem is True, which goes with tokenize=\"ascii\"".to_owned()));
            }
            ("unicode", _) => Words::Unicode,
            _ => {
                let value = tokenize.to_owned();
                return Err(Error::Choice { argument: "tokenize", value, choices: &["ascii", "unicode"] });
            }
        };
        Ok(Self { words, ..self })
    }

    /// The same with another way to treat several references: `"best"` or `"mean"`.
    pub fn with_references(self, multiple_references: &str) -> Result<Self, Error> {
        let several = match multiple_references {
            "best" => Several::Best,
            "mean" => Several::Mean(1),
            _ => {
                let value = multiple_references.to_owned();
                return Err(Error::Choice { argument: "multiple_references", value, choices: &["best", "mean"] });
            }
        };
        Ok(Self { several, ..self })
    }

    /// What is told of the counts.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// Whether texts are compared line by line.
    pub fn has_lines(&self) -> bool {
        self.variant == Variant::Summary
    }
}

/// What a thread keeps between pairs.
#[derive(Default)]
pub struct Scratch {
    pub(super) ngrams: ngrams::Scratch,
    pub(super) subsequence: subsequence::Scratch,
    masks: Masks,
    marks: Vec<bool>,
    /// How often each token may still count in the hypothesis and in the reference; all 0 between uses.
    left: Vec<[u32; 2]>,
}

/// Reads a text line by line.
fn by_lines(text: &str, reader: &mut Reader<'_, '_>, mut read: impl FnMut(&str, &mut Reader<'_, '_>)) {
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            reader.end_line();
        }
        read(line, reader);
    }
}

impl Metric for Rouge {
    type Scratch = Scratch;

    /// Hits, and how many tokens or n-grams the hypothesis and the reference have; for a mean the same of each reference.
    fn width(&self) -> usize {
        match self.several {
            Several::Best => WIDTH,
            Several::Mean(most) => WIDTH * most,
        }
    }

    fn with_width(&self, width: usize) -> Option<Cow<'_, Self>> {
        match self.several {
            Several::Mean(_) if width > 0 && width.is_multiple_of(WIDTH) => {
                Some(Cow::Owned(Self { several: Several::Mean(width / WIDTH), ..self.clone() }))
            }
            _ => (width == self.width()).then_some(Cow::Borrowed(self)),
        }
    }

    fn for_pairs(&self, pairs: &Pairs) -> Cow<'_, Self> {
        self.with_width(WIDTH * pairs.most_references()).unwrap_or(Cow::Borrowed(self))
    }

    fn wants_strings(&self) -> Option<&'static str> {
        (self.words == Words::Ascii { stem: true }).then_some("stem is True")
    }

    fn read(&self, text: &str, reader: &mut Reader<'_, '_>) {
        let mut read_ascii = |mut stems: Option<&mut Stems>| match self.variant {
            Variant::Summary => {
                by_lines(text, reader, |line, reader| read_alphanumeric(line, stems.as_deref_mut(), reader));
            }
            _ => read_alphanumeric(text, stems, reader),
        };
        match self.words {
            Words::Ascii { stem: true } => STEMS.with_borrow_mut(|stems| read_ascii(Some(stems))),
            Words::Ascii { stem: false } => read_ascii(None),
            Words::Unicode => {
                let mut buffer = std::mem::take(&mut reader.buffer);
                by_lines(text, reader, |line, reader| scripts::words(line, &mut buffer, |token| reader.token(token)));
                reader.buffer = buffer;
            }
        }
    }

    fn count(
        &self,
        pair: &Pair,
        row: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        count_all(std::slice::from_ref(self), pair, row, scratch, ticker)
    }

    fn check(&self, row: &[i64]) -> Result<(), String> {
        for counts in row.chunks(WIDTH) {
            let [hits, hypothesis, reference] = [counts[0], counts[1], counts[2]];
            if hits > hypothesis || hits > reference {
                return Err(format!(
                    "{hits} hits, which is more than the {hypothesis} of the hypothesis or the {reference} of the \
                     reference"
                ));
            }
        }
        Ok(())
    }

    fn counts<'a>(&self, row: &'a [i64]) -> &'a [i64] {
        counts(row)
    }

    fn score(&self, row: &[i64], _: Level) -> f64 {
        self.measure.of(row)
    }

    fn adds_up(&self) -> bool {
        false
    }
}

/// Precision, recall and F.
pub const MEASURES: [Measure; 3] = [Measure::Precision, Measure::Recall, Measure::F];

/// The [`MEASURES`] of every pair by several metrics, one metric after another. Texts are read once.
pub fn scores_of_all(metrics: &[Rouge], pairs: &Pairs, watch: &Watch<'_>) -> Result<Vec<f64>, Error> {
    let Some(first) = metrics.first() else { return Ok(vec![]) };
    // Lines matter to this one only.
    let reader = metrics.iter().find(|metric| metric.variant == Variant::Summary).unwrap_or(first);
    let width = first.width();
    let items_of_pair = MEASURES.len() * metrics.len();
    let mut scores = zeros::<f64>(pairs.len().saturating_mul(items_of_pair))?;
    for_each_pair(
        (&mut scores, items_of_pair),
        pairs,
        watch,
        |text, pair| reader.read(text, pair),
        |pair, scores, (rows, scratch): &mut (Vec<i64>, Scratch), ticker| {
            rows.clear();
            rows.resize(width * metrics.len(), 0);
            count_all(metrics, pair, rows, scratch, ticker)?;
            for (row, scores) in rows.chunks(width).zip(scores.chunks_mut(MEASURES.len())) {
                scores.copy_from_slice(&MEASURES.map(|measure| measure.of(row)));
            }
            Ok(())
        },
    )?;
    Ok(scores)
}

/// Counts a pair for metrics that treat texts and several references alike, and differ in their variant: a row for each.
fn count_all(
    metrics: &[Rouge],
    pair: &Pair,
    rows: &mut [i64],
    scratch: &mut Scratch,
    ticker: &Ticker<'_>,
) -> Result<(), Error> {
    let Some(first) = metrics.first() else { return Ok(()) };
    let (width, is_mean) = (first.width(), first.is_mean());
    let hypothesis = pair.hypothesis();
    if is_mean {
        rows.fill(MISSING);
    }
    for (index, reference) in pair.references().enumerate() {
        let hits = scratch.hits(metrics, hypothesis, reference, pair.distinct(), ticker)?;
        for (metric, row) in metrics.iter().zip(rows.chunks_mut(width)) {
            let [of_hypothesis, of_reference] = [hypothesis, reference].map(|text| metric.units(text.tokens().len()));
            let counts = [hits.of(metric.variant), of_hypothesis, of_reference];
            if is_mean {
                row[WIDTH * index..][..WIDTH].copy_from_slice(&counts);
            } else if index == 0 || Measure::F.of_counts(&counts) > Measure::F.of_counts(row) {
                row.copy_from_slice(&counts);
            }
        }
    }
    Ok(())
}

/// What two texts have in common.
#[derive(Default)]
struct Hits {
    /// Of each order.
    ngrams: [i64; LONGEST],
    subsequence: i64,
    summary: i64,
}

impl Hits {
    fn of(&self, variant: Variant) -> i64 {
        match variant {
            Variant::Ngrams(order) => self.ngrams[order - 1],
            Variant::Subsequence => self.subsequence,
            Variant::Summary => self.summary,
        }
    }
}

/// The mean of a measure over rows; NaN for none.
pub fn mean(measure: Measure, rows: &[i64], width: usize) -> f64 {
    let rows = rows.chunks(width);
    let count = rows.len() as f64;
    rows.map(|row| measure.of(row)).collect::<Exact>().value() / count
}

impl Scratch {
    /// All hits that metrics ask for.
    fn hits(
        &mut self,
        metrics: &[Rouge],
        hypothesis: Text<'_>,
        reference: Text<'_>,
        distinct: usize,
        ticker: &Ticker<'_>,
    ) -> Result<Hits, Error> {
        let mut hits = Hits::default();
        let (mut order, mut subsequence) = (0, false);
        for metric in metrics {
            match metric.variant {
                Variant::Ngrams(length) => order = order.max(length),
                Variant::Subsequence => subsequence = true,
                Variant::Summary => hits.summary = self.summary(hypothesis, reference, distinct, ticker)?,
            }
        }
        let (hypothesis, reference) = (hypothesis.tokens(), reference.tokens());
        let ngrams = &mut hits.ngrams[..order];
        if hypothesis.len() <= ROWS {
            // One set of masks for all.
            self.masks.reserve(distinct)?;
            self.masks.with(hypothesis, |masks| {
                if order > 0 {
                    let mut taken = [0; LONGEST];
                    take_rows(masks, reference, &mut [], &mut taken[..order]);
                    for (ngrams, taken) in ngrams.iter_mut().zip(taken) {
                        *ngrams = i64::from(taken.count_ones());
                    }
                }
                if subsequence {
                    hits.subsequence = i64::from(alone(masks, reference, |_, _| {}).count_zeros());
                }
            });
            ticker.tick(2 * reference.len())?;
            return Ok(hits);
        }
        if order > 0 {
            let references = std::iter::once(reference);
            clipped_matches(hypothesis, references, distinct, ngrams, &mut self.ngrams, ticker)?;
        }
        if subsequence {
            hits.subsequence = self.subsequence.length(reference, hypothesis, distinct, ticker)? as i64;
        }
        Ok(hits)
    }

    /// The hits of ROUGE-Lsum.
    pub(super) fn summary(
        &mut self,
        hypothesis: Text<'_>,
        reference: Text<'_>,
        distinct: usize,
        ticker: &Ticker<'_>,
    ) -> Result<i64, Error> {
        grow(&mut self.left, distinct)?;
        for (side, text) in [hypothesis, reference].into_iter().enumerate() {
            for &token in text.tokens() {
                self.left[token as usize][side] += 1;
            }
        }
        let hits = self.hits_of_lines(hypothesis, reference, distinct, ticker);
        for text in [hypothesis, reference] {
            for &token in text.tokens() {
                self.left[token as usize] = [0, 0];
            }
        }
        hits
    }

    fn hits_of_lines(
        &mut self,
        hypothesis: Text<'_>,
        reference: Text<'_>,
        distinct: usize,
        ticker: &Ticker<'_>,
    ) -> Result<i64, Error> {
        let mut hits = 0;
        for line in reference.lines() {
            self.marks.clear();
            grow(&mut self.marks, line.len())?;
            self.subsequence.mark(line, hypothesis.lines(), distinct, &mut self.marks, ticker)?;
            for (&token, _) in line.iter().zip(&self.marks).filter(|&(_, &marked)| marked) {
                let [in_hypothesis, in_reference] = &mut self.left[token as usize];
                if *in_hypothesis > 0 && *in_reference > 0 {
                    *in_hypothesis -= 1;
                    *in_reference -= 1;
                    hits += 1;
                }
            }
        }
        Ok(hits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_of_counts() {
        assert_eq!(Measure::F.of(&[0, 0, 0]), 0.0);
        assert_eq!(Measure::F.of(&[5, 5, 5]), 1.0);
        assert_eq!(Measure::Precision.of(&[1, 2, 4]), 0.5);
        assert_eq!(Measure::Recall.of(&[1, 2, 4]), 0.25);
        assert_eq!(Measure::F.of(&[1, 2, 4]), 2.0 * 0.5 * 0.25 / 0.75);
    }

    #[test]
    fn a_mean_is_over_the_references_that_there_are() {
        assert_eq!(Measure::Recall.of(&[1, 2, 4, 1, 2, 2, -1, -1, -1]), 0.375);
        assert_eq!(Measure::Recall.of(&[0, 0, 0, 1, 2, 2]), 0.25);
    }

    #[test]
    fn every_name_is_a_variant() {
        for name in Variant::NAMES {
            assert!(Variant::named(name).is_some(), "{name}");
        }
        assert_eq!(Variant::named("rouge9"), Some(Variant::Ngrams(9)));
        for name in ["rouge0", "rouge10", "rougel", "L", ""] {
            assert!(Rouge::new(name, "f", false).unwrap_err().to_string().starts_with("variant is"), "{name}");
        }
        let message = |result: Result<Rouge, Error>| result.unwrap_err().to_string();
        assert!(message(Rouge::new("rougeL", "F", false)).starts_with("measure is \"F\""));
        let rouge = |stem| Rouge::new("rougeL", "f", stem).unwrap();
        assert!(message(rouge(false).with_tokenizer("13a")).starts_with("tokenize is \"13a\""));
        assert!(message(rouge(true).with_tokenizer("unicode")).starts_with("stem is True"));
        assert!(message(rouge(true).with_references("worst")).starts_with("multiple_references is \"worst\""));
    }
}
