//! BLEU (Papineni et al. 2002, <https://doi.org/10.3115/1073083.1073135>), as sacrebleu 2.6 computes it.
//!
//! BLEU = BP · exp(1/N Σₙ ln pₙ)    pₙ = matchesₙ / totalsₙ    BP = min(1, exp(1 − r / c))
//!
//! where c is the length of the hypothesis, and r that of the reference whose length is closest (the shorter of two). All
//! is computed with ratios, so a perfect match is exactly 1. Smoothing (Chen and Cherry 2014,
//! <https://doi.org/10.3115/v1/W14-3346>) replaces a pₙ without matches.

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x8};

use super::ngrams::{self, clipped_matches};
use super::tokenize::Tokenizer;
use super::tokens::{Pair, Reader, Text};
use super::{Level, Metric, PERCENT};
use crate::error::Error;
use crate::parallel::Ticker;
use crate::simd::math::{exp_f64x8, ln};

/// What is done about orders without matches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Smoothing {
    /// Nothing: the score is 0.
    None,
    /// So many matches instead.
    Floor(f64),
    /// So many more matches, and as many more n-grams, in all orders above 1.
    AddK(f64),
    /// Half a match for the first order without one, a quarter for the second, and so on.
    Exp,
}

/// sacrebleu's values.
const FLOOR: f64 = 0.1;
const K: f64 = 1.0;

impl Smoothing {
    /// The names by which users know them.
    pub const NAMES: &[&str] = &["none", "floor", "add-k", "exp"];

    fn named(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "floor" => Some(Self::Floor(FLOOR)),
            "add-k" => Some(Self::AddK(K)),
            "exp" => Some(Self::Exp),
            _ => None,
        }
    }

    /// The same with another value than sacrebleu's.
    fn with_value(self, value: f64) -> Result<Self, Error> {
        let wrong = |expected| Err(Error::Value(format!("smoothing_value is {value}, expected {expected}")));
        match self {
            Self::Floor(_) if (0.0..=1.0).contains(&value) => Ok(Self::Floor(value)),
            Self::Floor(_) => wrong("a number of matches in 0..=1"),
            Self::AddK(_) if (0.0..f64::INFINITY).contains(&value) => Ok(Self::AddK(value)),
            Self::AddK(_) => wrong("a finite number of matches of at least 0"),
            Self::None | Self::Exp => {
                let smoothing = if self == Self::Exp { "exp" } else { "none" };
                let message =
                    format!("smoothing_value goes with \"floor\" and \"add-k\", and smoothing is \"{smoothing}\"");
                Err(Error::Value(message))
            }
        }
    }
}

/// The longest n-grams that can be asked for.
pub const LONGEST: i64 = 32;

/// How BLEU is computed.
#[derive(Debug, Clone)]
pub struct Bleu {
    max_order: usize,
    smoothing: Smoothing,
    effective_order: Option<bool>,
    tokenizer: Tokenizer,
    lowercase: bool,
}

/// A score and what it was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// In [0, 1].
    pub score: f64,
    /// The smoothed ratios of all orders; 0 for those beyond the longest n-gram, and for all if nothing matches.
    pub precisions: Vec<f64>,
    /// BP.
    pub brevity_penalty: f64,
}

impl Bleu {
    /// Checks the options. `effective_order` leaves out the orders that a text is too short for; without a value it does so
    /// for sentences.
    pub fn new(
        max_order: i64,
        smoothing: &str,
        effective_order: Option<bool>,
        tokenize: &str,
        lowercase: bool,
    ) -> Result<Self, Error> {
        if !(1..=LONGEST).contains(&max_order) {
            return Err(Error::range("max_order", &[], max_order, format!("a length of n-grams in 1..={LONGEST}")));
        }
        let choice = |argument, value: &str, choices| Error::Choice { argument, value: value.to_owned(), choices };
        if Tokenizer::OF_MODELS.contains(&tokenize) {
            let message = format!(
                "tokenize is \"{tokenize}\", which needs a model; expected a callable by which your model cuts a string"
            );
            return Err(Error::Value(message));
        }
        Ok(Self {
            max_order: max_order as usize,
            smoothing: Smoothing::named(smoothing).ok_or_else(|| choice("smoothing", smoothing, Smoothing::NAMES))?,
            effective_order,
            tokenizer: Tokenizer::named(tokenize).ok_or_else(|| choice("tokenize", tokenize, Tokenizer::NAMES))?,
            lowercase,
        })
    }

    /// The same with another value for the smoothing: so many matches instead of none, or so many more.
    pub fn with_smoothing_value(self, value: f64) -> Result<Self, Error> {
        Ok(Self { smoothing: self.smoothing.with_value(value)?, ..self })
    }

    /// The longest n-grams.
    pub fn max_order(&self) -> usize {
        self.max_order
    }

    /// Writes what follows from lengths into a row: all but the matches.
    pub(super) fn lengths(&self, hypothesis: usize, references: impl Iterator<Item = usize>, row: &mut [i64]) {
        let closest = references.min_by_key(|&reference| (reference.abs_diff(hypothesis), reference));
        row[0] = hypothesis as i64;
        row[1] = closest.unwrap_or_default() as i64;
        for (shorter, total) in row[2 + self.max_order..].iter_mut().enumerate() {
            *total = hypothesis.saturating_sub(shorter) as i64;
        }
    }

    /// The score of a row with its parts.
    pub fn parts(&self, row: &[i64], level: Level) -> Parts {
        let (lengths, counts) = row.split_at(2);
        let (matches, totals) = counts.split_at(self.max_order);
        let brevity_penalty = brevity_penalty(lengths[0], lengths[1]);
        let mut precisions = vec![0.0; self.max_order];
        if matches.iter().all(|&count| count == 0) {
            return Parts { score: 0.0, precisions, brevity_penalty };
        }
        let mut orders = self.max_order;
        let mut halves = 1.0;
        for (index, precision) in precisions.iter_mut().enumerate() {
            let more = match self.smoothing {
                Smoothing::AddK(k) if index > 0 => k,
                _ => 0.0,
            };
            let (matches, total) = (matches[index] as f64 + more, totals[index] as f64 + more);
            if total == 0.0 {
                break;
            }
            if self.effective_order.unwrap_or(level == Level::Sentence) {
                orders = index + 1;
            }
            *precision = match self.smoothing {
                _ if matches > 0.0 => matches / total,
                Smoothing::Floor(floor) => floor / total,
                Smoothing::Exp => {
                    halves *= 0.5;
                    halves / total
                }
                Smoothing::None | Smoothing::AddK(_) => 0.0,
            };
        }
        let logarithms: f64 = precisions[..orders].iter().map(|&precision| ln(precision)).sum();
        let score = brevity_penalty * exp(logarithms / orders as f64);
        Parts { score, precisions, brevity_penalty }
    }
}

impl Metric for Bleu {
    type Scratch = ngrams::Scratch;

    /// The length of the hypothesis, of the reference, matches of every order, totals of every order.
    fn width(&self) -> usize {
        2 + 2 * self.max_order
    }

    fn wants_strings(&self) -> Option<&'static str> {
        self.lowercase.then_some("lowercase is True")
    }

    fn scale(&self) -> f64 {
        PERCENT
    }

    fn read(&self, text: &str, reader: &mut Reader<'_, '_>) {
        if self.lowercase {
            self.tokenizer.read(&text.to_lowercase(), reader);
        } else {
            self.tokenizer.read(text, reader);
        }
    }

    fn count(
        &self,
        pair: &Pair,
        row: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let references = pair.references().map(Text::tokens);
        self.lengths(pair.hypothesis().tokens().len(), references.clone().map(<[u32]>::len), row);
        let matches = &mut row[2..2 + self.max_order];
        clipped_matches(pair.hypothesis().tokens(), references, pair.distinct(), matches, scratch, ticker)
    }

    fn check(&self, row: &[i64]) -> Result<(), String> {
        let (matches, totals) = row[2..].split_at(self.max_order);
        match matches.iter().zip(totals).position(|(matches, total)| matches > total) {
            Some(index) => {
                let (order, matches, total) = (index + 1, matches[index], totals[index]);
                Err(format!("{matches} matches of order {order}, which is more than its {total} n-grams"))
            }
            None => Ok(()),
        }
    }

    fn score(&self, row: &[i64], level: Level) -> f64 {
        self.parts(row, level).score
    }
}

fn brevity_penalty(hypothesis: i64, reference: i64) -> f64 {
    if hypothesis >= reference {
        1.0
    } else if hypothesis > 0 {
        exp(1.0 - reference as f64 / hypothesis as f64)
    } else {
        0.0
    }
}

/// exp(x) for x ≤ 0, by the library's own exp: the same bits on every system.
pub(super) fn exp(x: f64) -> f64 {
    let mut results = [0.0; 8];
    dispatch!(crate::simd::level(), simd => exp_f64x8(simd, f64x8::splat(simd, x)).store_slice(&mut results));
    results[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bleu(smoothing: &str, effective_order: Option<bool>) -> Bleu {
        Bleu::new(4, smoothing, effective_order, "13a", false).unwrap()
    }

    // Scores by sacrebleu 2.6.0, over 100.
    #[test]
    fn every_smoothing() {
        let row = [7, 8, 5, 2, 0, 0, 7, 6, 5, 4];
        for (smoothing, expected) in [
            ("none", 0.0),
            ("floor", 0.090_549_928_065_996_67),
            ("add-k", 0.275_518_910_380_613_9),
            ("exp", 0.170_261_169_781_868_84),
        ] {
            let score = bleu(smoothing, None).score(&row, Level::Sentence);
            assert!((score - expected).abs() < 1e-15, "{smoothing}: {score:?}");
        }
    }

    #[test]
    fn a_perfect_match_is_exactly_1() {
        for smoothing in Smoothing::NAMES {
            assert_eq!(bleu(smoothing, None).score(&[3, 3, 3, 2, 1, 0, 3, 2, 1, 0], Level::Sentence), 1.0);
            assert_eq!(bleu(smoothing, None).score(&[9, 9, 9, 8, 7, 6, 9, 8, 7, 6], Level::Corpus), 1.0);
        }
    }

    #[test]
    fn too_short_for_an_order() {
        let row = [3, 3, 3, 2, 1, 0, 3, 2, 1, 0];
        assert_eq!(bleu("exp", None).score(&row, Level::Corpus), 0.0);
        assert_eq!(bleu("exp", Some(false)).score(&row, Level::Sentence), 0.0);
        assert_eq!(bleu("exp", Some(true)).score(&row, Level::Corpus), 1.0);
        assert_eq!(bleu("none", None).score(&[0; 10], Level::Sentence), 0.0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let message = |result: Result<Bleu, Error>| result.unwrap_err().to_string();
        assert!(message(Bleu::new(0, "exp", None, "13a", false)).starts_with("max_order is 0"));
        assert!(message(Bleu::new(33, "exp", None, "13a", false)).starts_with("max_order is 33"));
        assert!(message(Bleu::new(4, "add", None, "13a", false)).starts_with("smoothing is \"add\""));
        assert!(message(Bleu::new(4, "exp", None, "14", false)).starts_with("tokenize is \"14\""));
        assert!(message(Bleu::new(4, "exp", None, "flores200", false)).contains("needs a model"));
        for (smoothing, value) in
            [("floor", 1.1), ("floor", f64::NAN), ("add-k", -1.0), ("add-k", f64::INFINITY), ("exp", 1.0)]
        {
            let wrong = message(bleu(smoothing, None).with_smoothing_value(value));
            assert!(wrong.starts_with("smoothing_value"), "{smoothing} {value}: {wrong}");
        }
        let row = [7, 8, 5, 7, 0, 0, 7, 6, 5, 4];
        let wrong = bleu("exp", None).check(&row).unwrap_err();
        assert_eq!(wrong, "7 matches of order 2, which is more than its 6 n-grams");
    }
}
