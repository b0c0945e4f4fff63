//! Answers to questions, as SQuAD's evaluation compares them (Rajpurkar et al. 2016, <https://arxiv.org/abs/1606.05250>;
//! version 2.0 of the script): token F1 and exact match.
//!
//! F1 = 2 · common / (hypothesis + reference)
//!
//! on words of the lower-cased text without ASCII punctuation and without the articles a, an, the. Of several references the
//! best counts. An answer without words is right where the reference has none either, and wrong elsewhere.
//!
//! Punctuation makes the difference between numbers (3.5 and 35), so answers can be compared as they stand, too: each is then
//! one token, without the whitespace around it.

use super::ngrams::{self, clipped_matches};
use super::tokenize::{hand_over, trim_end, trim_start, words};
use super::tokens::{Pair, Reader};
use super::{Level, Metric};
use crate::error::Error;
use crate::parallel::Ticker;

/// What is told of a pair of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// How many words they share.
    F1,
    /// Whether they are the same words.
    Exact,
    /// Whether they are the same but for whitespace around them.
    Stripped,
}

impl Metric for Answers {
    type Scratch = ngrams::Scratch;

    /// Words in common, words of the hypothesis, of the reference; and 1 for answers that are the same.
    fn width(&self) -> usize {
        4
    }

    fn read(&self, text: &str, reader: &mut Reader<'_, '_>) {
        match self {
            Self::Stripped => hand_over(trim_end(trim_start(text)).as_bytes(), &mut |token| reader.token(token)),
            Self::F1 | Self::Exact => words(&normalized(text), |token| reader.token(token)),
        }
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
            let mut common = [0];
            clipped_matches(
                hypothesis.tokens(),
                std::iter::once(reference.tokens()),
                pair.distinct(),
                &mut common,
                scratch,
                ticker,
            )?;
            let same = hypothesis.tokens() == reference.tokens();
            let lengths = [hypothesis, reference].map(|text| text.tokens().len() as i64);
            let counts = [common[0], lengths[0], lengths[1], i64::from(same)];
            let score = self.score(&counts, Level::Sentence);
            if best.is_none_or(|best| score > best) {
                best = Some(score);
                row.copy_from_slice(&counts);
            }
        }
        Ok(())
    }

    fn check(&self, row: &[i64]) -> Result<(), String> {
        match *row {
            [common, hypothesis, reference, _] if common > hypothesis.min(reference) => {
                Err(format!("{common} words in common, which is more than {hypothesis} or {reference}"))
            }
            [.., same] if same > 1 => Err(format!("{same} for the same words, expected 0 or 1")),
            _ => Ok(()),
        }
    }

    fn score(&self, row: &[i64], _: Level) -> f64 {
        let [common, hypothesis, reference, same] = [row[0], row[1], row[2], row[3]].map(|count| count as f64);
        match self {
            Self::Exact | Self::Stripped => same,
            Self::F1 if hypothesis + reference == 0.0 => 1.0,
            Self::F1 if common == 0.0 => 0.0,
            Self::F1 => {
                let (precision, recall) = (common / hypothesis, common / reference);
                2.0 * precision * recall / (precision + recall)
            }
        }
    }

    fn adds_up(&self) -> bool {
        false
    }
}

/// Lower case, without ASCII punctuation, and with a space for each article that stands by itself.
fn normalized(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut result = String::with_capacity(lower.len());
    let mut word = String::new();
    let end = |word: &mut String, result: &mut String| {
        result.push_str(if matches!(&word[..], "a" | "an" | "the") { " " } else { word });
        word.clear();
    };
    for character in lower.chars().filter(|character| !character.is_ascii_punctuation()) {
        if character.is_alphanumeric() {
            word.push(character);
        } else {
            end(&mut word, &mut result);
            result.push(character);
        }
    }
    end(&mut word, &mut result);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_lose_case_punctuation_and_articles() {
        for (text, expected) in [
            ("The Eiffel Tower!", vec!["eiffel", "tower"]),
            ("a.b an-d then", vec!["ab", "and", "then"]),
            ("a—b the—", vec!["—b", "—"]),
            ("A", vec![]),
        ] {
            let mut tokens = vec![];
            words(&normalized(text), |token| tokens.push(String::from_utf8(token.to_vec()).unwrap()));
            assert_eq!(tokens, expected, "{text:?}");
        }
    }
}
