//! Word and character error rates, as jiwer 4 computes them.
//!
//! rate = (substitutions + deletions + insertions) / (hits + substitutions + deletions)
//!
//! The divisor is the length of the reference; where that is 0, the rate is the number of insertions. Of several references
//! the one with the lowest rate counts, the first of equals.

use super::alignment::{self, Counts};
use super::tokenize::{all_characters, spaced_words};
use super::tokens::Pair;
use super::{Level, Metric};
use crate::error::Error;
use crate::parallel::Ticker;

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
}

/// How the error rate is computed.
#[derive(Debug, Clone)]
pub struct ErrorRate {
    unit: Unit,
}

impl ErrorRate {
    /// Checks the option.
    pub fn new(unit: &str) -> Result<Self, Error> {
        match unit {
            "word" => Ok(Self { unit: Unit::Word }),
            "char" => Ok(Self { unit: Unit::Char }),
            _ => Err(Error::Choice { argument: "unit", value: unit.to_owned(), choices: Unit::NAMES }),
        }
    }
}

impl Metric for ErrorRate {
    type Scratch = alignment::Scratch;

    /// Hits, substitutions, deletions, insertions.
    fn width(&self) -> usize {
        4
    }

    fn read(&self, text: &str, pair: &mut Pair) {
        match self.unit {
            Unit::Word => spaced_words(text, |token| pair.token(token)),
            Unit::Char => all_characters(text, |token| pair.token(token)),
        }
    }

    fn count(
        &self,
        pair: &Pair,
        row: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let hypothesis = pair.hypothesis().tokens();
        let mut best = None;
        for reference in pair.references() {
            let Counts { hits, substitutions, deletions, insertions } =
                scratch.align(reference.tokens(), hypothesis, pair.distinct(), ticker)?;
            let counts = [hits, substitutions, deletions, insertions];
            let rate = self.score(&counts, Level::Sentence);
            if best.is_none_or(|best| rate < best) {
                best = Some(rate);
                row.copy_from_slice(&counts);
            }
        }
        Ok(())
    }

    fn check(&self, _: &[i64]) -> Result<(), String> {
        Ok(())
    }

    fn score(&self, row: &[i64], _: Level) -> f64 {
        let [hits, substitutions, deletions, insertions] = [row[0], row[1], row[2], row[3]].map(|count| count as f64);
        let reference = hits + substitutions + deletions;
        if reference == 0.0 { insertions } else { (substitutions + deletions + insertions) / reference }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_counts() {
        let rate = |row: &[i64]| ErrorRate::new("word").unwrap().score(row, Level::Sentence);
        assert_eq!(rate(&[0, 0, 0, 0]), 0.0);
        assert_eq!(rate(&[0, 0, 0, 3]), 3.0);
        assert_eq!(rate(&[2, 1, 1, 4]), 1.5);
        assert!(ErrorRate::new("token").unwrap_err().to_string().starts_with("unit is \"token\""));
    }
}
