//! Clipped matches of n-grams: Σ over n-grams of min(count in the hypothesis, the most in any reference).
//!
//! An n-gram is numbered by its first n − 1 tokens, which have a number already, and its last token. Equality is exact, of
//! any order, and takes one look-up an n-gram.

use super::tokens::{Text, Vocabulary};

/// What a thread keeps between pairs.
#[derive(Default)]
pub struct Scratch {
    known: Vocabulary,
    /// The number of the n-gram that begins at each token, text after text.
    grams: Vec<u32>,
    /// Of each n-gram: how often it may still match, and how often it was seen in the reference under way.
    left: Vec<u32>,
    seen: Vec<u32>,
}

/// Writes the clipped matches of orders 1, 2, … of texts whose tokens are below `distinct`.
pub fn clipped_matches<'a>(
    hypothesis: Text<'a>,
    references: impl Iterator<Item = Text<'a>> + Clone,
    distinct: usize,
    matches: &mut [i64],
    scratch: &mut Scratch,
) {
    matches.fill(0);
    let texts = std::iter::once(hypothesis).chain(references).map(Text::tokens);
    scratch.grams.clear();
    texts.clone().for_each(|tokens| scratch.grams.extend_from_slice(tokens));
    let mut distinct = distinct;
    for (shorter, matches) in matches.iter_mut().enumerate() {
        if shorter > 0 {
            distinct = scratch.lengthen(texts.clone(), shorter);
        }
        *matches = scratch.count(texts.clone(), shorter + 1, distinct);
        if *matches == 0 {
            // A longer n-gram that matches would begin with one that does.
            return;
        }
    }
}

impl Scratch {
    /// Makes n-grams of `shorter` tokens longer by one, and says how many different ones there are.
    fn lengthen<'a>(&mut self, texts: impl Iterator<Item = &'a [u32]>, shorter: usize) -> usize {
        self.known.clear();
        let mut grams = &mut self.grams[..];
        let mut distinct = 0;
        for tokens in texts {
            let (of_text, rest) = grams.split_at_mut(tokens.len());
            for (gram, last) in of_text.iter_mut().zip(tokens.get(shorter..).unwrap_or_default()) {
                let key = u64::from(*gram) << 32 | u64::from(*last);
                *gram = self.known.number(&key.to_le_bytes());
                distinct = distinct.max(*gram as usize + 1);
            }
            grams = rest;
        }
        distinct
    }

    /// Counts the matches of n-grams whose numbers are below `distinct`; the first text is the hypothesis.
    fn count<'a>(&mut self, mut texts: impl Iterator<Item = &'a [u32]>, order: usize, distinct: usize) -> i64 {
        for counts in [&mut self.left, &mut self.seen] {
            counts.clear();
            counts.resize(distinct, 0);
        }
        let mut rest = &self.grams[..];
        let mut next = |tokens: &[u32]| {
            let (of_text, after) = rest.split_at(tokens.len());
            rest = after;
            &of_text[..(tokens.len() + 1).saturating_sub(order)]
        };
        let hypothesis = texts.next().map_or(&[][..], &mut next);
        for reference in texts.map(&mut next) {
            for &gram in reference {
                let seen = &mut self.seen[gram as usize];
                *seen += 1;
                self.left[gram as usize] = self.left[gram as usize].max(*seen);
            }
            for &gram in reference {
                self.seen[gram as usize] = 0;
            }
        }
        let mut matches = 0;
        for &gram in hypothesis {
            let left = &mut self.left[gram as usize];
            matches += i64::from(*left > 0);
            *left = left.saturating_sub(1);
        }
        matches
    }
}
