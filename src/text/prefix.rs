//! The score of every beginning of a hypothesis: for rewards that come step by step.
//!
//! R₁, R₂, …, R_T with R_t the score of the first t tokens; the shaped reward of step t is R_t − R_{t−1}, with R₀ = 0 (Ng,
//! Harada and Russell 1999; for BLEU, Bahdanau et al. 2017, <https://arxiv.org/abs/1607.07086>).
//!
//! Nothing is counted twice. Of several occurrences of an n-gram the first ones match, so the matches of a beginning are
//! those of the whole that lie in it. With the tokens of the hypothesis as the rows of a table, the last column holds the
//! longest common subsequences, or the distances, of all beginnings.

use super::answers::Answers;
use super::bleu::Bleu;
use super::chrf::{Chrf, Scratch};
use super::error_rate::{self, ErrorRate};
use super::gleu::Gleu;
use super::ngrams::clipped_matches_of_beginnings;
use super::nltk::NltkBleu;
use super::rouge::{Measure, Rouge, Variant};
use super::strips::grow;
use super::tokens::{Pair, Pairs, Text};
use super::{Level, Metric, WORK_PER_BYTE};
use crate::error::Error;
use crate::input::zeros;
use crate::parallel::{Ticker, Watch, for_each};

/// A metric that counts all beginnings of a hypothesis at once.
pub trait Prefixes: Metric {
    /// The row of every beginning, from the first token on. Rows have the scores, though maybe not the counts, of
    /// [`Metric::count`].
    fn count_prefixes(
        &self,
        pair: &Pair,
        rows: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error>;
}

/// What is told of each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reward {
    /// The score so far.
    Score,
    /// What the step has added to it.
    Shaped,
}

/// How many pairs a thread takes at once.
const RUN: usize = 16;

/// The rewards of every hypothesis, times `scale`.
pub fn rewards<M: Prefixes>(
    metric: &M,
    pairs: &Pairs,
    reward: Reward,
    scale: f64,
    watch: &Watch<'_>,
) -> Result<Vec<Vec<f64>>, Error> {
    let width = metric.width();
    let mut rewards: Vec<Vec<f64>> = vec![];
    grow(&mut rewards, pairs.len())?;
    let work = pairs.bytes().saturating_mul(2 * WORK_PER_BYTE);
    let scratch = || Ok((Pair::default(), M::Scratch::default()));
    let runs = rewards.chunks_mut(RUN).enumerate();
    for_each(runs, work, watch, scratch, |(run, rewards), (pair, scratch), ticker| {
        for (offset, rewards) in rewards.iter_mut().enumerate() {
            pairs.read(run * RUN + offset, |text, reader| metric.read(text, reader), pair, ticker)?;
            let steps = pair.hypothesis().tokens().len();
            let mut rows = zeros::<i64>(steps.saturating_mul(width))?;
            metric.count_prefixes(pair, &mut rows, scratch, ticker)?;
            ticker.tick(WORK_PER_BYTE * (pair.len() + rows.len()))?;
            *rewards = rows.chunks(width).map(|row| scale * metric.score(row, Level::Sentence)).collect();
            if reward == Reward::Shaped {
                let mut before = 0.0f64;
                for reward in rewards.iter_mut() {
                    let score = *reward;
                    *reward = score - before;
                    before = score;
                }
            }
        }
        Ok(())
    })?;
    Ok(rewards)
}

impl Prefixes for Bleu {
    fn count_prefixes(
        &self,
        pair: &Pair,
        rows: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let orders = self.max_order();
        let (hypothesis, references) = (pair.hypothesis().tokens(), pair.references().map(Text::tokens));
        let width = self.width();
        let each = |step: usize, matches: &[i64]| {
            let row = &mut rows[step * width..(step + 1) * width];
            row[2..2 + orders].copy_from_slice(matches);
            self.lengths(step + 1, references.clone().map(<[u32]>::len), row);
        };
        clipped_matches_of_beginnings(hypothesis, references.clone(), pair.distinct(), orders, scratch, ticker, each)
    }
}

impl Prefixes for Rouge {
    fn count_prefixes(
        &self,
        pair: &Pair,
        rows: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        if self.is_mean() && pair.references().len() > 1 {
            let message = "multiple_references is \"mean\", and prefixes have only the best one: expected \"best\"";
            return Err(Error::Value(message.into()));
        }
        let hypothesis = pair.hypothesis().tokens();
        for (index, reference) in pair.references().map(Text::tokens).enumerate() {
            let of_reference = self.units(reference.len());
            let mut each = |step: usize, hits: i64| {
                let counts = [hits, self.units(step + 1), of_reference];
                let row = &mut rows[3 * step..3 * step + 3];
                if index == 0 || Measure::F.of(&counts) > Measure::F.of(row) {
                    row.copy_from_slice(&counts);
                }
            };
            match self.variant() {
                Variant::Ngrams(order) => {
                    let references = std::iter::once(reference);
                    let each = |step: usize, matches: &[i64]| each(step, matches[order - 1]);
                    let scratch = &mut scratch.ngrams;
                    clipped_matches_of_beginnings(
                        hypothesis,
                        references,
                        pair.distinct(),
                        order,
                        scratch,
                        ticker,
                        each,
                    )?;
                }
                Variant::Subsequence => {
                    let scratch = &mut scratch.subsequence;
                    let lengths = scratch.lengths_of_beginnings(hypothesis, reference, pair.distinct(), ticker)?;
                    lengths.into_iter().skip(1).enumerate().for_each(|(step, length)| each(step, length as i64));
                }
                Variant::Summary => {
                    let message = "variant is \"rougeLsum\", which goes by lines and not by prefixes; take \"rougeL\"";
                    return Err(Error::Value(message.into()));
                }
            }
        }
        Ok(())
    }
}

impl Prefixes for ErrorRate {
    fn count_prefixes(
        &self,
        pair: &Pair,
        rows: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        if self.measure() != error_rate::Measure::Wer {
            let message = "measure is not \"wer\", and prefixes have only distances: expected \"wer\"";
            return Err(Error::Value(message.into()));
        }
        for (index, reference) in pair.references().enumerate() {
            let (beginnings, reference) = (pair.hypothesis().tokens(), reference.tokens());
            let distances = scratch.distances_of_beginnings(beginnings, reference, pair.distinct(), ticker)?;
            for (row, &distance) in rows.as_chunks_mut::<4>().0.iter_mut().zip(&distances[1..]) {
                let counts = Self::of_distance(distance, reference.len());
                let rate = |row: &[i64]| self.score(row, Level::Sentence);
                if index == 0 || rate(&counts) < rate(row) {
                    *row = counts;
                }
            }
        }
        Ok(())
    }
}

impl Prefixes for Chrf {
    fn count_prefixes(
        &self,
        pair: &Pair,
        rows: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        if self.word_order > 0 {
            let message = "word_order is not 0, and prefixes are those of the characters: expected 0";
            return Err(Error::Value(message.into()));
        }
        let width = self.width();
        let hypothesis = pair.hypothesis().tokens();
        let Scratch { ngrams, row: candidate, .. } = scratch;
        for (index, reference) in pair.references().map(Text::tokens).enumerate() {
            let each = |step: usize, matches: &[i64]| {
                let row = &mut rows[step * width..(step + 1) * width];
                self.fill([step + 1, 0], [reference.len(), 0], matches.iter().copied(), candidate);
                if index == 0 || self.percent(candidate) > self.percent(row) {
                    row.copy_from_slice(candidate);
                }
            };
            let references = std::iter::once(reference);
            clipped_matches_of_beginnings(
                hypothesis,
                references,
                pair.distinct(),
                self.char_order,
                ngrams,
                ticker,
                each,
            )?;
        }
        Ok(())
    }
}

impl Prefixes for Gleu {
    fn count_prefixes(
        &self,
        pair: &Pair,
        rows: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let hypothesis = pair.hypothesis().tokens();
        for reference in pair.references().map(Text::tokens) {
            let of_reference = self.ngrams(reference.len());
            let each = |step: usize, matches: &[i64]| {
                let counts = [matches[self.min_order - 1..].iter().sum(), of_reference.max(self.ngrams(step + 1))];
                let row = &mut rows[2 * step..2 * step + 2];
                let ratio = |row: &[i64]| self.score(row, Level::Sentence);
                if row[1] == 0 || ratio(&counts) > ratio(row) {
                    row.copy_from_slice(&counts);
                }
            };
            let references = std::iter::once(reference);
            clipped_matches_of_beginnings(
                hypothesis,
                references,
                pair.distinct(),
                self.max_order,
                scratch,
                ticker,
                each,
            )?;
        }
        Ok(())
    }
}

impl Prefixes for NltkBleu {
    fn count_prefixes(
        &self,
        pair: &Pair,
        rows: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        self.bleu.count_prefixes(pair, rows, scratch, ticker)?;
        rows.chunks_mut(self.width()).for_each(|row| self.totals_from_1(row));
        Ok(())
    }
}

impl Prefixes for Answers {
    fn count_prefixes(
        &self,
        pair: &Pair,
        rows: &mut [i64],
        scratch: &mut Self::Scratch,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let hypothesis = pair.hypothesis().tokens();
        for (index, reference) in pair.references().map(Text::tokens).enumerate() {
            let each = |step: usize, common: &[i64]| {
                let same = hypothesis[..=step] == *reference;
                let counts = [common[0], step as i64 + 1, reference.len() as i64, i64::from(same)];
                let row = &mut rows[4 * step..4 * step + 4];
                let score = |row: &[i64]| self.score(row, Level::Sentence);
                if index == 0 || score(&counts) > score(row) {
                    row.copy_from_slice(&counts);
                }
            };
            let references = std::iter::once(reference);
            clipped_matches_of_beginnings(hypothesis, references, pair.distinct(), 1, scratch, ticker, each)?;
        }
        Ok(())
    }
}
