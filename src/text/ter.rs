//! TER (Snover et al. 2006, <https://aclanthology.org/2006.amta-papers.25/>), as sacrebleu 2.6 computes it.
//!
//! TER = 100 · edits / reference
//!
//! where a shifted run of words is one edit. Of several references the fewest edits count, and the mean of the lengths. So
//! that rows still add up without rounding, the length is told in whole words, and in parts of a word: [`PARTS`] make one.
//! Where the references are so many that a mean has no such part, the nearest is taken.

use super::shifts;
use super::tercom::Tercom;
use super::tokens::{Pair, Reader, Text};
use super::{Level, Metric, PERCENT};
use crate::error::Error;
use crate::parallel::Ticker;

/// Divisible by all numbers of references up to 22, by 24 to 26, 28, 30, 32, 64, 100, 128 and others.
pub const PARTS: i64 = 128 * 9 * 25 * 7 * 11 * 13 * 17 * 19;

/// How TER is computed.
#[derive(Debug, Clone)]
pub struct Ter {
    tokenizer: Tercom,
}

impl Ter {
    /// All options go.
    pub fn new(tokenizer: Tercom) -> Self {
        Self { tokenizer }
    }
}

/// The length that a row tells of.
pub fn reference_length(row: &[i64]) -> f64 {
    row[1] as f64 + row[2] as f64 / PARTS as f64
}

impl Metric for Ter {
    type Scratch = shifts::Scratch;

    /// Edits, words of the reference, parts of words.
    fn width(&self) -> usize {
        3
    }

    /// sacrebleu cuts references twice, and the second time finds possessives before full stops that the first has cut off.
    fn wants_strings(&self) -> Option<&'static str> {
        self.tokenizer.wants_strings()
    }

    fn scale(&self) -> f64 {
        PERCENT
    }

    fn read(&self, text: &str, reader: &mut Reader<'_, '_>) {
        let mut buffer = std::mem::take(&mut reader.buffer);
        if reader.reads_reference() && self.tokenizer.normalized {
            let mut cut = vec![];
            self.tokenizer.tokens(text, &mut buffer, |token| {
                cut.extend_from_slice(token);
                cut.push(b' ');
            });
            let cut = String::from_utf8(cut).expect("a text is cut between characters");
            self.tokenizer.tokens(&cut, &mut buffer, |token| reader.token(token));
        } else {
            self.tokenizer.tokens(text, &mut buffer, |token| reader.token(token));
        }
        reader.buffer = buffer;
    }

    fn count(
        &self,
        pair: &Pair,
        row: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let hypothesis = pair.hypothesis().tokens();
        let references = pair.references().map(Text::tokens);
        let count = references.len() as i128;
        let words: i128 = references.clone().map(|reference| reference.len() as i128).sum();
        let parts = (words * i128::from(PARTS) + count / 2) / count;
        let mut fewest = i64::MAX;
        for reference in references {
            fewest = fewest.min(scratch.edits(hypothesis, reference, pair.distinct(), ticker)?);
        }
        row.copy_from_slice(&[fewest, (parts / i128::from(PARTS)) as i64, (parts % i128::from(PARTS)) as i64]);
        Ok(())
    }

    fn check(&self, _: &[i64]) -> Result<(), String> {
        Ok(())
    }

    /// Edits without a word of reference are as many as there could be.
    fn score(&self, row: &[i64], _: Level) -> f64 {
        let length = reference_length(row);
        if length > 0.0 { row[0] as f64 / length } else { f64::from(row[0] > 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_counts() {
        let ter = Ter::new(Tercom::default());
        let score = |row: &[i64]| ter.score(row, Level::Corpus);
        assert_eq!(score(&[0, 0, 0]), 0.0);
        assert_eq!(score(&[2, 0, 0]), 1.0);
        assert_eq!(score(&[3, 2, 0]), 1.5);
        assert_eq!(score(&[3, 1, PARTS / 2]), 2.0);
        assert!((1..=22).all(|count| PARTS % count == 0));
    }
}
