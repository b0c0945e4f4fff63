//! chrF (Popović 2015, <https://doi.org/10.18653/v1/W15-3049>) and chrF++ (Popović 2017,
//! <https://doi.org/10.18653/v1/W17-4770>), as sacrebleu 2.6 computes them.
//!
//! chrF = 100 · (1 + β²) · P · R / (β² · P + R)    P, R = means of matchesₙ / hypothesisₙ and of matchesₙ / referenceₙ
//!
//! over the orders that both texts have n-grams of: first n-grams of characters, then of words. Smoothed, it is the mean
//! of each order's F instead, with 10⁻¹⁶ for a ratio that has no divisor.

use super::ngrams::{self, clipped_matches};
use super::tokenize::{characters, words};
use super::tokens::{Pair, Reader};
use super::{Level, Metric, PERCENT};
use crate::error::Error;
use crate::parallel::Ticker;

/// The longest n-grams that can be asked for.
const LONGEST: i64 = 32;
/// What stands for a ratio without a divisor.
const EPSILON: f64 = 1e-16;

/// How chrF is computed.
#[derive(Debug, Clone)]
pub struct Chrf {
    pub(super) char_order: usize,
    pub(super) word_order: usize,
    beta: f64,
    lowercase: bool,
    whitespace: bool,
    eps_smoothing: bool,
}

impl Chrf {
    /// Checks the options.
    pub fn new(
        char_order: i64,
        word_order: i64,
        beta: f64,
        lowercase: bool,
        whitespace: bool,
        eps_smoothing: bool,
    ) -> Result<Self, Error> {
        for (argument, order) in [("char_order", char_order), ("word_order", word_order)] {
            if !(0..=LONGEST).contains(&order) {
                return Err(Error::range(argument, &[], order, format!("a length of n-grams in 0..={LONGEST}")));
            }
        }
        if char_order + word_order == 0 {
            return Err(Error::Value("char_order and word_order are both 0, expected n-grams of either".into()));
        }
        if !(0.0..=1e100).contains(&beta) {
            return Err(Error::Value(format!("beta is {beta}, which is not a weight in 0..=1e100")));
        }
        let (char_order, word_order) = (char_order as usize, word_order as usize);
        Ok(Self { char_order, word_order, beta, lowercase, whitespace, eps_smoothing })
    }

    /// Makes a row of the matches of all orders, and of how many characters and words both texts have.
    pub(super) fn fill(
        &self,
        hypothesis: [usize; 2],
        reference: [usize; 2],
        matches: impl Iterator<Item = i64>,
        row: &mut Vec<i64>,
    ) {
        row.clear();
        let orders = (0..self.char_order).map(|shorter| (0, shorter));
        let orders = orders.chain((0..self.word_order).map(|shorter| (1, shorter)));
        for ((part, shorter), matches) in orders.zip(matches) {
            let [hypothesis, reference] =
                [hypothesis[part], reference[part]].map(|length| length.saturating_sub(shorter) as i64);
            let hypothesis = if reference > 0 { hypothesis } else { 0 };
            row.extend([hypothesis, reference, matches]);
        }
    }

    /// The score of 100 at most, in sacrebleu's order of operations: references are ranked by it.
    pub(super) fn percent(&self, row: &[i64]) -> f64 {
        let weight = self.beta * self.beta;
        let (mut smoothed, mut precisions, mut recalls, mut orders) = (0.0, 0.0, 0.0, 0.0);
        for counts in row.as_chunks::<3>().0 {
            let [hypothesis, reference, matches] = counts.map(|count| count as f64);
            let ratio = |divisor| if divisor > 0.0 { matches / divisor } else { EPSILON };
            let (precision, recall) = (ratio(hypothesis), ratio(reference));
            let divisor = weight * precision + recall;
            smoothed += if divisor > 0.0 { (1.0 + weight) * precision * recall / divisor } else { EPSILON };
            if hypothesis > 0.0 && reference > 0.0 {
                precisions += precision;
                recalls += recall;
                orders += 1.0;
            }
        }
        if self.eps_smoothing {
            return 100.0 * smoothed / (self.char_order + self.word_order) as f64;
        }
        if orders == 0.0 || precisions + recalls == 0.0 {
            return 0.0;
        }
        let (precision, recall) = (precisions / orders, recalls / orders);
        100.0 * ((1.0 + weight) * precision * recall / (weight * precision + recall))
    }
}

/// Hands over the words of a text; a last or else first character that is ASCII punctuation stands alone.
fn words_and_punctuation(text: &str, mut token: impl FnMut(&[u8])) {
    words(text, |word| match word {
        [start @ .., last] if !start.is_empty() && last.is_ascii_punctuation() => {
            token(start);
            token(&[*last]);
        }
        [first, end @ ..] if !end.is_empty() && first.is_ascii_punctuation() => {
            token(&[*first]);
            token(end);
        }
        _ => token(word),
    });
}

/// What a thread keeps between pairs.
#[derive(Default)]
pub struct Scratch {
    pub(super) ngrams: ngrams::Scratch,
    pub(super) row: Vec<i64>,
    matches: Vec<i64>,
}

impl Metric for Chrf {
    type Scratch = Scratch;

    /// For each order the n-grams of the hypothesis, of the reference, and those that match.
    fn width(&self) -> usize {
        3 * (self.char_order + self.word_order)
    }

    /// Characters are one line, words another.
    fn wants_strings(&self) -> Option<&'static str> {
        if self.lowercase { Some("lowercase is True") } else { (self.word_order > 0).then_some("word_order is not 0") }
    }

    fn scale(&self) -> f64 {
        PERCENT
    }

    fn read(&self, text: &str, reader: &mut Reader<'_, '_>) {
        let lower_case;
        let mut text = text;
        if self.lowercase {
            lower_case = text.to_lowercase();
            text = &lower_case;
        }
        if self.whitespace {
            let mut buffer = [0; 4];
            text.chars().for_each(|character| reader.token(character.encode_utf8(&mut buffer).as_bytes()));
        } else {
            characters(text, |token| reader.token(token));
        }
        if self.word_order > 0 {
            reader.end_line();
            words_and_punctuation(text, |token| reader.token(token));
        }
    }

    fn count(
        &self,
        pair: &Pair,
        row: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let mut best = -1.0;
        for reference in pair.references() {
            let Scratch { ngrams, row: candidate, matches } = scratch;
            matches.clear();
            matches.resize(self.char_order + self.word_order, 0);
            let (of_characters, of_words) = matches.split_at_mut(self.char_order);
            let mut lengths = [[0; 2]; 2];
            let lines = pair.hypothesis().lines().zip(reference.lines()).enumerate();
            for ((line, (hypothesis, reference)), matches) in lines.zip([of_characters, of_words]) {
                (lengths[0][line], lengths[1][line]) = (hypothesis.len(), reference.len());
                if !matches.is_empty() {
                    let reference = std::iter::once(reference);
                    clipped_matches(hypothesis, reference, pair.distinct(), matches, ngrams, ticker)?;
                    ticker.tick(matches.len() * hypothesis.len())?;
                }
            }
            self.fill(lengths[0], lengths[1], matches.iter().copied(), candidate);
            let percent = self.percent(candidate);
            if percent > best {
                best = percent;
                row.copy_from_slice(candidate);
            }
        }
        Ok(())
    }

    fn check(&self, row: &[i64]) -> Result<(), String> {
        for (index, &[hypothesis, reference, matches]) in row.as_chunks::<3>().0.iter().enumerate() {
            let most = hypothesis.min(reference);
            if matches > most {
                let (kind, order) = match index.checked_sub(self.char_order) {
                    None => ("characters", index + 1),
                    Some(words) => ("words", words + 1),
                };
                return Err(format!(
                    "{matches} matches of {kind} of order {order}, which is more than the {most} n-grams of a text"
                ));
            }
        }
        Ok(())
    }

    fn score(&self, row: &[i64], _: Level) -> f64 {
        self.percent(row) / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_one_mark_at_most() {
        let mut all = vec![];
        words_and_punctuation("(hi) \u{ab}x\u{bb} . (( a, \"b 'c\u{e9}", |token| {
            all.push(String::from_utf8(token.to_vec()).unwrap());
        });
        assert_eq!(all, ["(hi", ")", "\u{ab}x\u{bb}", ".", "(", "(", "a", ",", "\"", "b", "'", "c\u{e9}"]);
    }

    #[test]
    fn scores_of_counts() {
        let chrf = |eps| Chrf::new(2, 0, 2.0, false, false, eps).unwrap();
        assert_eq!(chrf(false).score(&[4, 4, 4, 3, 3, 3], Level::Corpus), 1.0);
        assert_eq!(chrf(false).score(&[0, 0, 0, 0, 0, 0], Level::Corpus), 0.0);
        assert_eq!(chrf(false).score(&[4, 4, 2, 0, 3, 0], Level::Corpus), 0.5);
        assert!(chrf(true).score(&[0, 0, 0, 0, 0, 0], Level::Corpus) > 0.0);
        let wrong = chrf(false).check(&[4, 4, 4, 3, 2, 3]).unwrap_err();
        assert_eq!(wrong, "3 matches of characters of order 2, which is more than the 2 n-grams of a text");
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        let message = |char_order, word_order, beta| {
            Chrf::new(char_order, word_order, beta, false, false, false).unwrap_err().to_string()
        };
        assert!(message(33, 0, 2.0).starts_with("char_order is 33"));
        assert!(message(6, -1, 2.0).starts_with("word_order is -1"));
        assert!(message(0, 0, 2.0).contains("both 0"));
        assert!(message(6, 0, f64::NAN).starts_with("beta is NaN"));
    }
}
