//! Word and character error rates, as jiwer 4 computes them.
//!
//! With H hits, S substitutions, D deletions and I insertions, of R = H + S + D tokens of the reference and
//! P = H + S + I of the hypothesis:
//!
//! WER = (S + D + I) / R    MER = (S + D + I) / (H + S + D + I)    WIP = H / R · H / P    WIL = 1 − WIP
//!
//! (Morris et al. 2004, <https://doi.org/10.21437/Interspeech.2004-668>). Where the reference is empty, WER is the number of
//! insertions, and if the hypothesis is too, nothing is lost. Of several references the one with the least error counts, the
//! first of equals.

use std::borrow::Cow;

use super::alignment::{self, Counts, Runs};
use super::classes::{Class, Classes};
use super::tokenize::{all_characters, read_spaced};
use super::tokens::{Pair, Pairs, Reader};
use super::{Level, Metric, for_each_pair};
use crate::error::Error;
use crate::parallel::{Ticker, Watch};

/// What is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// What spaces separate.
    Word,
    /// Every character, spaces among them.
    Char,
}

impl Unit {
    /// The names by which users know them.
    pub const NAMES: &[&str] = &["word", "char"];

    fn named(name: &str) -> Option<Self> {
        match name {
            "word" => Some(Self::Word),
            "char" => Some(Self::Char),
            _ => None,
        }
    }
}

/// What is told of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Errors over the tokens of the reference.
    Wer,
    /// Errors over errors and hits.
    Mer,
    /// What is lost.
    Wil,
    /// What is preserved.
    Wip,
}

impl Measure {
    /// The names by which users know them.
    pub const NAMES: &[&str] = &["wer", "mer", "wil", "wip"];

    fn named(name: &str) -> Option<Self> {
        match name {
            "wer" => Some(Self::Wer),
            "mer" => Some(Self::Mer),
            "wil" => Some(Self::Wil),
            "wip" => Some(Self::Wip),
            _ => None,
        }
    }

    /// The measure of a row: hits, substitutions, deletions, insertions.
    pub fn of(self, row: &[i64]) -> f64 {
        let [hits, substitutions, deletions, insertions] = [row[0], row[1], row[2], row[3]].map(|count| count as f64);
        let errors = substitutions + deletions + insertions;
        let (reference, hypothesis) = (hits + substitutions + deletions, hits + substitutions + insertions);
        match self {
            Self::Wer if reference == 0.0 => insertions,
            Self::Wer => errors / reference,
            Self::Mer if errors == 0.0 => 0.0,
            Self::Mer => errors / (hits + errors),
            Self::Wip if hits == 0.0 => f64::from(errors == 0.0),
            Self::Wip => (hits / reference) * (hits / hypothesis),
            Self::Wil => 1.0 - Self::Wip.of(row),
        }
    }

    /// How far a row is from what would be best.
    fn error(self, row: &[i64]) -> f64 {
        if self == Self::Wip { Self::Wil.of(row) } else { self.of(row) }
    }
}

/// How the error rate is computed.
#[derive(Debug, Clone)]
pub struct ErrorRate {
    unit: Unit,
    measure: Measure,
    lowercase: bool,
    remove_punctuation: bool,
}

/// Which operations lead from references to hypotheses.
#[derive(Debug, Clone, Default)]
pub struct Alignments {
    /// See [`Runs::rows`]; those of all pairs, one after another.
    pub rows: Vec<[i64; 5]>,
    /// Where in `rows` each pair begins, and where the last one ends.
    pub offsets: Vec<i64>,
    /// Which of its references each hypothesis is aligned with.
    pub references: Vec<i64>,
    /// What is counted on the way: the row of each pair.
    pub counts: Vec<[i64; 4]>,
}

impl ErrorRate {
    /// Checks the options.
    pub fn new(unit: &str, measure: &str, lowercase: bool, remove_punctuation: bool) -> Result<Self, Error> {
        let choice = |argument, value: &str, choices| Error::Choice { argument, value: value.to_owned(), choices };
        Ok(Self {
            unit: Unit::named(unit).ok_or_else(|| choice("unit", unit, Unit::NAMES))?,
            measure: Measure::named(measure).ok_or_else(|| choice("measure", measure, Measure::NAMES))?,
            lowercase,
            remove_punctuation,
        })
    }

    /// What is told.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// A row that has the WER of a distance: what exceeds the reference is told as insertions, the rest as substitutions.
    pub(super) fn of_distance(distance: usize, reference: usize) -> [i64; 4] {
        let substitutions = distance.min(reference);
        [reference - substitutions, substitutions, 0, distance - substitutions].map(|count| count as i64)
    }

    /// Aligns every pair.
    pub fn align(&self, pairs: &Pairs, watch: &Watch<'_>) -> Result<Alignments, Error> {
        let mut aligned = vec![(0, Runs::default()); pairs.len()];
        for_each_pair(
            (&mut aligned, 1),
            pairs,
            watch,
            |text, reader| self.read(text, reader),
            |pair, items, scratch, ticker| {
                items[0] = self.best(pair, |runs: &Runs| runs.counts().into(), scratch, ticker)?;
                Ok(())
            },
        )?;
        let mut alignments = Alignments { offsets: vec![0], ..Alignments::default() };
        for (reference, runs) in &aligned {
            alignments.rows.extend(runs.rows());
            alignments.offsets.push(alignments.rows.len() as i64);
            alignments.references.push(*reference as i64);
            alignments.counts.push(runs.counts().into());
        }
        Ok(alignments)
    }

    /// Which of the references counts, and its alignment.
    fn best<S: alignment::Steps + Default>(
        &self,
        pair: &Pair,
        row: impl Fn(&S) -> [i64; 4],
        scratch: &mut alignment::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(usize, S), Error> {
        let hypothesis = pair.hypothesis().tokens();
        let mut best = (0, S::default());
        let mut least = f64::INFINITY;
        for (index, reference) in pair.references().enumerate() {
            let steps = scratch.align(reference.tokens(), hypothesis, pair.distinct(), ticker)?;
            let error = self.measure.error(&row(&steps));
            if error < least {
                least = error;
                best = (index, steps);
            }
        }
        Ok(best)
    }

    /// The text that is cut, as the options want it.
    fn prepared<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        if self.lowercase {
            text = Cow::Owned(text.to_lowercase());
        }
        if self.remove_punctuation {
            let mut classes = Classes::default();
            text = Cow::Owned(text.chars().filter(|&character| classes.of(character) != Class::Punctuation).collect());
        }
        text
    }
}

impl From<Counts> for [i64; 4] {
    fn from(counts: Counts) -> Self {
        [counts.hits, counts.substitutions, counts.deletions, counts.insertions]
    }
}

impl Metric for ErrorRate {
    type Scratch = alignment::Scratch;

    /// Hits, substitutions, deletions, insertions.
    fn width(&self) -> usize {
        4
    }

    fn wants_strings(&self) -> Option<&'static str> {
        let lowercase = self.lowercase.then_some("lowercase is True");
        lowercase.or(self.remove_punctuation.then_some("remove_punctuation is True"))
    }

    fn read(&self, text: &str, reader: &mut Reader<'_, '_>) {
        let text = self.prepared(text);
        match self.unit {
            Unit::Word => read_spaced(&text, reader),
            Unit::Char => all_characters(&text, |token| reader.token(token)),
        }
    }

    fn count(
        &self,
        pair: &Pair,
        row: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let (_, counts) = self.best(pair, |&counts: &Counts| counts.into(), scratch, ticker)?;
        row.copy_from_slice(&<[i64; 4]>::from(counts));
        Ok(())
    }

    fn check(&self, _: &[i64]) -> Result<(), String> {
        Ok(())
    }

    fn score(&self, row: &[i64], _: Level) -> f64 {
        self.measure.of(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_of_counts() {
        let all = |row: &[i64]| [Measure::Wer, Measure::Mer, Measure::Wil, Measure::Wip].map(|measure| measure.of(row));
        // What jiwer 4 says of nothing, of nothing but insertions, of nothing but deletions, and of a bit of all.
        assert_eq!(all(&[0, 0, 0, 0]), [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(all(&[0, 0, 0, 3]), [3.0, 1.0, 1.0, 0.0]);
        assert_eq!(all(&[0, 0, 2, 0]), [1.0, 1.0, 1.0, 0.0]);
        assert_eq!(all(&[2, 1, 1, 5]), [1.75, 7.0 / 9.0, 0.875, 0.125]);
    }

    #[test]
    fn names() {
        let message = |unit, measure| ErrorRate::new(unit, measure, false, false).unwrap_err().to_string();
        assert!(message("token", "wer").starts_with("unit is \"token\""));
        assert!(message("word", "cer").starts_with("measure is \"cer\""));
        for measure in Measure::NAMES {
            assert!(ErrorRate::new("char", measure, false, false).is_ok());
        }
    }

    #[test]
    fn texts_are_prepared_as_jiwer_does() {
        let metric = ErrorRate::new("word", "wer", true, true).unwrap();
        // The sigma is final because of the hyphen, which is taken out only then.
        assert_eq!(
            metric.prepared("\u{3a3}\u{391}\u{3a3}-\u{391} It's\u{2014}OK."),
            "\u{3c3}\u{3b1}\u{3c2}\u{3b1} itsok"
        );
    }
}
