//! GLEU (Wu et al. 2016, section 4.3, <https://arxiv.org/abs/1609.08144>), as NLTK 3.9 computes it.
//!
//! GLEU = matches / max(hypothesis, reference) = min(precision, recall)
//!
//! over the n-grams of orders `min_order` to `max_order` taken together. Of several references the one with the highest ratio
//! counts, the first of equals. It is symmetric and needs neither smoothing nor a brevity penalty, so single sentences can
//! be compared: what it was made for is a reward.

use super::bleu::Bleu;
use super::ngrams::{self, clipped_matches};
use super::tokens::{Pair, Reader};
use super::{Level, Metric};
use crate::error::Error;
use crate::parallel::Ticker;

/// How GLEU is computed.
#[derive(Debug, Clone)]
pub struct Gleu {
    pub(super) min_order: usize,
    pub(super) max_order: usize,
    /// Cuts strings.
    bleu: Bleu,
}

impl Gleu {
    /// Checks the options.
    pub fn new(min_order: i64, max_order: i64, tokenize: &str, lowercase: bool) -> Result<Self, Error> {
        let bleu = Bleu::new(max_order, "none", None, tokenize, lowercase)?;
        if !(1..=max_order).contains(&min_order) {
            let expected = format!("a length of n-grams in 1..={max_order}");
            return Err(Error::range("min_order", &[], min_order, expected));
        }
        Ok(Self { min_order: min_order as usize, max_order: max_order as usize, bleu })
    }

    /// How many n-grams a text of that length has.
    pub(super) fn ngrams(&self, length: usize) -> i64 {
        (self.min_order..=self.max_order).map(|order| (length + 1).saturating_sub(order) as i64).sum()
    }
}

impl Metric for Gleu {
    type Scratch = ngrams::Scratch;

    /// Matches, and the n-grams of the text that has more.
    fn width(&self) -> usize {
        2
    }

    fn wants_strings(&self) -> Option<&'static str> {
        self.bleu.wants_strings()
    }

    fn read(&self, text: &str, reader: &mut Reader<'_, '_>) {
        self.bleu.read(text, reader);
    }

    fn count(
        &self,
        pair: &Pair,
        row: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let hypothesis = pair.hypothesis();
        let mut best = None;
        for reference in pair.references() {
            let mut matches = vec![0; self.max_order];
            clipped_matches(
                hypothesis.tokens(),
                std::iter::once(reference.tokens()),
                pair.distinct(),
                &mut matches,
                scratch,
                ticker,
            )?;
            let total = self.ngrams(hypothesis.tokens().len()).max(self.ngrams(reference.tokens().len()));
            if total == 0 {
                // Neither text has an n-gram, which NLTK passes over: it must not keep one with no matches from counting.
                continue;
            }
            let counts = [matches[self.min_order - 1..].iter().sum(), total];
            let ratio = self.score(&counts, Level::Sentence);
            if best.is_none_or(|best| ratio > best) {
                best = Some(ratio);
                row.copy_from_slice(&counts);
            }
        }
        Ok(())
    }

    fn check(&self, row: &[i64]) -> Result<(), String> {
        match *row {
            [matches, total] if matches > total => {
                Err(format!("{matches} matches, which is more than {total} n-grams"))
            }
            _ => Ok(()),
        }
    }

    fn score(&self, row: &[i64], _: Level) -> f64 {
        if row[1] == 0 { 0.0 } else { row[0] as f64 / row[1] as f64 }
    }
}
