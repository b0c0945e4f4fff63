//! Losses of texts that are not there yet: what BLEU, ROUGE and alignments come to when each step of a hypothesis is a
//! distribution over tokens.
//!
//! | loss | ℓ |
//! |---|---|
//! | BLEU | 1 − BP exp(1/N Σₙ ln((Eₙ + k) / (totalₙ + k))), E the expected matches, k = 0 for n = 1: BLEU of expectations |
//! | ROUGE-N | 1 − 2 E / (hypothesis + reference), or over one of both: the expectation of the score, as lengths are fixed |
//! | soft ROUGE-L | the same of the soft subsequence |
//! | EISL | see `soft_alignment` |
//!
//! Only the columns of tokens that the references have are read of the probabilities, all of them and before anything else: a
//! NaN there makes the loss and all of its slopes NaN, so that no recursion has to carry it. With hᵥ = ∂ℓ/∂P(t, v), which is
//! 0 for all other tokens, the softmax makes of it ∂ℓ/∂xᵥ = P(t, v) (hᵥ − Σᵤ P(t, u) hᵤ): a row is read once for its softmax,
//! and swept once more for the gradient. No softmax is kept.

use std::ops::Range;

use super::Scores;
pub use super::expected_matches::Estimate;
use super::expected_matches::{Columns, Ngrams, Wanted};
use super::logits::{self, LogitRows, Slopes, Step, Transform};
use super::soft_alignment;
use crate::error::{Error, subscript};
use crate::exact::Exact;
use crate::float::{Element, Float};
use crate::input::{Sequences, resize};
use crate::loss::{Loss, Piece, Worker};
use crate::parallel::Ticker;
use crate::reduction;
use crate::simd::Stored;
use crate::simd::elementary::exp_each;
use crate::simd::math::ln;
use crate::text::rouge::Measure;
use crate::text::tokens::{TextSets, Texts};

/// Fewer expected matches than this are none: what they are divided by would not be a number.
const FEWEST: f64 = 1e-300;

/// Rounding may leave a sure match so much above 1. Probabilities that sum to more, which nobody looks for, go further.
const ROUNDING: f64 = 1e-9;

/// The references of every sequence, whose tokens are classes.
pub struct References {
    tokens: Vec<u32>,
    /// Where each reference ends.
    ends: Vec<usize>,
    /// The number of the reference with which each sequence ends.
    sets: Vec<usize>,
}

impl References {
    /// Checks that there is a set for each of the sequences, and that all tokens are classes.
    pub fn new(sets: &TextSets, sequences: usize, classes: usize) -> Result<Self, Error> {
        if sets.len() != sequences {
            let message = format!("references has length {}, expected {sequences}, one item a sequence", sets.len());
            return Err(Error::Value(message));
        }
        let Texts::Ids(texts) = sets.texts() else {
            return Err(Error::Type("references are strings, expected token ids".to_owned()));
        };
        let mut references = Self { tokens: vec![], ends: vec![], sets: vec![] };
        for set in 0..sequences {
            for (member, text) in sets.range(set).enumerate() {
                let ids = texts.text(text);
                crate::input::make_room(&mut references.tokens, ids.len())?;
                for (position, &id) in ids.iter().enumerate() {
                    if id < 0 || id as u64 >= classes as u64 {
                        let item = subscript("references", &[set]);
                        let name = if sets.range(set).len() > 1 { subscript(&item, &[member]) } else { item };
                        return Err(Error::range(&name, &[position], id, format!("a class in 0..{classes}")));
                    }
                    references.tokens.push(id as u32);
                }
                references.ends.push(references.tokens.len());
            }
            references.sets.push(references.ends.len());
        }
        Ok(references)
    }

    /// The tokens of all references of a sequence, and how long each of them is.
    fn of(&self, sequence: usize) -> (&[u32], impl Iterator<Item = usize>) {
        let first = if sequence == 0 { 0 } else { self.sets[sequence - 1] };
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        let ends = &self.ends[first..self.sets[sequence]];
        let mut before = start;
        let lengths = ends.iter().map(move |&end| {
            let length = end - before;
            before = end;
            length
        });
        (&self.tokens[start..ends.last().copied().unwrap_or(start)], lengths)
    }
}

/// What is computed.
#[derive(Debug, Clone)]
pub enum Objective {
    /// BLEU up to an order, with so many more matches and n-grams in all orders above 1.
    Bleu {
        /// How matches are counted.
        estimate: Estimate,
        /// N
        max_order: usize,
        /// k
        added: f64,
    },
    /// ROUGE of n-grams of one length.
    RougeN {
        /// How matches are counted.
        estimate: Estimate,
        /// n
        order: usize,
        /// Over what.
        measure: Measure,
        /// Whether the reference with the largest F counts, and not the mean.
        best: bool,
    },
    /// ROUGE of the soft subsequence.
    SoftRougeL {
        /// γ
        gamma: f64,
        /// Over what.
        measure: Measure,
        /// Whether the reference with the largest F counts, and not the mean.
        best: bool,
    },
    /// The edit-invariant loss, the mean over references.
    Eisl {
        /// Of the orders 1, 2, …
        weights: Vec<f64>,
        /// τ
        temperature: f64,
    },
}

/// An objective with its checked inputs.
pub struct Expected<'a, E> {
    logits: Sequences<'a, E>,
    references: References,
    scores: Scores,
    objective: Objective,
}

impl<'a, E: Element> Expected<'a, E> {
    /// Puts checked inputs together.
    pub fn new(logits: Sequences<'a, E>, references: References, scores: Scores, objective: Objective) -> Self {
        Self { logits, references, scores, objective }
    }
}

/// What a thread keeps: working memory that grows to what its longest sequence needs.
struct Scratch<F> {
    rows: LogitRows<F>,
    line: Vec<f64>,
    hypothesis: Hypothesis,
}

impl<E: Element> Loss<E> for Expected<'_, E> {
    fn sequences(&self) -> &Sequences<'_, E> {
        &self.logits
    }

    fn terms(&self, _: usize) -> usize {
        1
    }

    fn grain(&self) -> usize {
        1
    }

    fn stretch(&self, sequence: usize) -> usize {
        self.logits.rows[sequence].count() * self.logits.width
    }

    fn measure(&self, _: usize, weight: &mut Exact) -> reduction::Measure {
        weight.add(1.0);
        reduction::Measure::of(1)
    }

    fn cost(&self, sequence: usize) -> usize {
        let (tokens, _) = self.references.of(sequence);
        let orders = match self.objective {
            Objective::Bleu { max_order: orders, .. } | Objective::RougeN { order: orders, .. } => orders,
            Objective::SoftRougeL { .. } => 8,
            Objective::Eisl { ref weights, .. } => 4 * weights.len(),
        };
        let own = 8usize.saturating_mul(tokens.len()).saturating_mul(orders);
        1 + self.logits.rows[sequence].count().saturating_mul(self.logits.width.saturating_add(own))
    }

    fn parts(&self) -> usize {
        logits::parts(self.logits.width)
    }

    fn worker(&self) -> Result<Worker<'_, E>, Error> {
        let mut scratch = self.scratch()?;
        Ok(Box::new(move |piece, ticker| self.run(piece, &mut scratch, ticker)))
    }
}

impl<E: Element> Expected<'_, E> {
    fn scratch(&self) -> Result<Scratch<E::Float>, Error> {
        let rows = LogitRows::new(self.logits.width, Transform::NONE)?;
        Ok(Scratch { rows, line: vec![], hypothesis: Hypothesis::default() })
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Scratch<E::Float>, ticker: &Ticker<'_>) -> Result<(), Error> {
        let Scratch { rows, line, hypothesis } = scratch;
        let sequence = piece.sequence;
        let steps = self.logits.rows[sequence].count();
        let wants_gradient = piece.wants_gradient();
        let factor = piece.factors(0..1, &mut [0.0])[0];
        let (tokens, lengths) = self.references.of(sequence);
        hypothesis.set(tokens, lengths, steps)?;
        for step in 0..steps {
            self.read(piece, step, rows, line, hypothesis, ticker)?;
        }
        let loss = hypothesis.evaluate(&self.objective, wants_gradient, ticker)?;
        if wants_gradient {
            hypothesis.pull_back(self.scores)?;
            for step in 0..steps {
                self.write(piece, step, factor, rows, hypothesis, ticker)?;
            }
        }
        piece.term(0, loss);
        Ok(())
    }

    /// Reads the probabilities of one step.
    fn read(
        &self,
        piece: &Piece<'_, E>,
        step: usize,
        rows: &mut LogitRows<E::Float>,
        line: &mut Vec<f64>,
        hypothesis: &mut Hypothesis,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let classes = &hypothesis.classes;
        if classes.is_empty() {
            return Ok(());
        }
        line.clear();
        if self.scores == Scores::Logits {
            ticker.tick(self.logits.width + 4 * classes.len())?;
            let sum = rows.read(&piece.strip, self.at(piece.sequence, step, 0.0), 0, ticker, |reading| {
                let maximum = reading.softmax.maximum;
                line.extend(classes.iter().map(|&class| reading.row.at(class as usize) - maximum));
                reading.softmax.sum
            })?;
            exp_each(line);
            for number in line.iter_mut() {
                *number /= sum;
            }
        } else {
            ticker.tick(4 * classes.len())?;
            let row = piece.strip.stored(step, 0);
            let (least, most) = if self.scores == Scores::Probs { (0.0, 1.0) } else { (f64::NEG_INFINITY, 0.0) };
            for &class in classes {
                let number = Stored::exact(row[class as usize]);
                if number < least || number > most + rounding::<E>() {
                    return Err(self.refusal(piece.sequence, step, class, number));
                }
                line.push(if number > most { most } else { number });
            }
            if self.scores == Scores::LogProbs {
                exp_each(line);
            }
        }
        let columns = &mut hypothesis.columns;
        let places = columns.probabilities.iter_mut().skip(step).step_by(columns.steps);
        places.zip(&*line).for_each(|(place, number)| *place = *number);
        Ok(())
    }

    /// A score that is no probability.
    #[cold]
    fn refusal(&self, sequence: usize, step: usize, class: u32, number: f64) -> Error {
        let structure = &self.logits.structure;
        let mut index = structure.index(sequence, Some(step));
        index.push(class as usize);
        let (items, own) = index.split_at(usize::from(structure.ragged));
        let name = subscript(&subscript("logits", items), own);
        let expected = if self.scores == Scores::Probs { "a probability" } else { "a log-probability" };
        Error::Value(format!("{name} is {number}, expected {expected}"))
    }

    /// Writes the gradient of one step.
    fn write(
        &self,
        piece: &mut Piece<'_, E>,
        step: usize,
        factor: f64,
        rows: &mut LogitRows<E::Float>,
        hypothesis: &Hypothesis,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let Hypothesis { columns, classes, means, .. } = hypothesis;
        ticker.tick(self.logits.width + 4 * classes.len())?;
        if self.scores == Scores::Logits && !classes.is_empty() {
            let at = self.at(piece.sequence, step, factor);
            let slopes = Slopes { probability: 0.0 - means[step], ..Slopes::default() };
            rows.step(piece, at, ticker, |_| (0.0, slopes))?;
        } else {
            piece.strip.clear(step, 0);
        }
        let slopes = columns.slopes.iter().skip(step).step_by(columns.steps);
        let numbers = slopes.map(|slope| Float::from_f64(factor * slope));
        piece.strip.put(step, 0, classes.iter().map(|&class| class as usize).zip(numbers));
        Ok(())
    }

    fn at<'q>(&self, sequence: usize, index: usize, factor: f64) -> Step<'q, E::Float> {
        let next = (index + 1 < self.logits.rows[sequence].count()).then_some(index + 1);
        Step { index, next, factor, class: None, q: None, wants_moment: false }
    }
}

/// How far above 1 a probability may be for what was rounded on the way to it.
const fn rounding<E>() -> f64 {
    if size_of::<E>() == 2 { 1.0 / 128.0 } else { 1e-6 }
}

/// A sequence and its references, apart from how it is stored.
#[derive(Default)]
pub struct Hypothesis {
    /// The classes that the references have, ascending; each has a column.
    classes: Vec<u32>,
    columns: Columns,
    /// Σᵤ P(t, u) hᵤ of every step, where the softmax is inside.
    means: Vec<f64>,
    /// The references one after another, by columns, and where each ends.
    tokens: Vec<u32>,
    ends: Vec<usize>,
    ngrams: Ngrams,
    matches: Vec<f64>,
    coefficients: Vec<f64>,
    alignment: soft_alignment::Scratch,
}

impl Hypothesis {
    fn set(&mut self, tokens: &[u32], lengths: impl Iterator<Item = usize>, steps: usize) -> Result<(), Error> {
        resize(&mut self.classes, tokens.len(), 0)?;
        self.classes.copy_from_slice(tokens);
        self.classes.sort_unstable();
        self.classes.dedup();
        resize(&mut self.tokens, tokens.len(), 0)?;
        for (column, token) in self.tokens.iter_mut().zip(tokens) {
            *column = self.classes.partition_point(|class| class < token) as u32;
        }
        let mut end = 0;
        self.ends.clear();
        self.ends.extend(lengths.map(|length| {
            end += length;
            end
        }));
        self.columns.set(steps, self.classes.len())
    }

    /// Where a reference stands among the tokens.
    fn range(&self, reference: usize) -> Range<usize> {
        range(&self.ends, reference)
    }

    /// Makes of slopes with respect to the probabilities those with respect to the scores.
    fn pull_back(&mut self, scores: Scores) -> Result<(), Error> {
        let Columns { steps, probabilities, slopes } = &mut self.columns;
        resize(&mut self.means, *steps, 0.0)?;
        if scores == Scores::Probs || *steps == 0 {
            return Ok(());
        }
        let columns = || probabilities.chunks_exact(*steps);
        if scores == Scores::Logits {
            for (probabilities, slopes) in columns().zip(slopes.chunks_exact(*steps)) {
                for ((mean, p), slope) in self.means.iter_mut().zip(probabilities).zip(slopes) {
                    *mean += p * slope;
                }
            }
        }
        for (probabilities, slopes) in columns().zip(slopes.chunks_exact_mut(*steps)) {
            for ((slope, p), mean) in slopes.iter_mut().zip(probabilities).zip(&self.means) {
                *slope = p * (*slope - mean);
            }
        }
        Ok(())
    }

    /// ℓ; and its slopes with respect to the probabilities, if they are asked for.
    fn evaluate(&mut self, objective: &Objective, wants_slopes: bool, ticker: &Ticker<'_>) -> Result<f64, Error> {
        if self.columns.probabilities.iter().any(|p| p.is_nan()) {
            self.columns.slopes.fill(f64::NAN);
            return Ok(f64::NAN);
        }
        let loss = match *objective {
            Objective::Bleu { estimate, max_order, added } => {
                1.0 - self.bleu(estimate, max_order, added, wants_slopes, ticker)?
            }
            Objective::RougeN { estimate, order, measure, best } => {
                let units = |tokens: usize| (tokens + 1).saturating_sub(order);
                1.0 - self.measured(measure, best, units, wants_slopes, |own, reference, factor| {
                    own.matches_of(estimate, order, reference, factor, ticker)
                })?
            }
            Objective::SoftRougeL { gamma, measure, best } => {
                1.0 - self.measured(
                    measure,
                    best,
                    |tokens| tokens,
                    wants_slopes,
                    |own, reference, factor| {
                        let tokens = &own.tokens[own.range(reference)];
                        own.alignment.soft_subsequence(&mut own.columns, tokens, gamma, factor, ticker)
                    },
                )?
            }
            Objective::Eisl { ref weights, temperature } => {
                let share = 1.0 / self.ends.len() as f64;
                let mut sum = 0.0;
                for reference in 0..self.ends.len() {
                    let range = self.range(reference);
                    let Self { alignment, columns, tokens, .. } = self;
                    let factor = wants_slopes.then_some(share);
                    sum += alignment.edit_invariant(columns, &tokens[range], weights, temperature, factor, ticker)?;
                }
                sum * share
            }
        };
        Ok(if (-ROUNDING..0.0).contains(&loss) { 0.0 } else { loss })
    }

    fn bleu(
        &mut self,
        estimate: Estimate,
        max_order: usize,
        added: f64,
        wants_slopes: bool,
        ticker: &Ticker<'_>,
    ) -> Result<f64, Error> {
        let steps = self.columns.steps;
        let lengths = (0..self.ends.len()).map(|reference| self.range(reference).len());
        let closest = lengths.min_by_key(|&length| (length.abs_diff(steps), length)).unwrap_or_default();
        let longest = max_order.min(steps);
        let Self { ngrams, columns, tokens, ends, matches, coefficients, .. } = self;
        let references = (0..ends.len()).map(|reference| &tokens[range(ends, reference)]);
        ngrams.set(references, columns.count(), longest, ticker)?;
        resize(matches, longest, 0.0)?;
        let first = if wants_slopes { Wanted::SlopesLater } else { Wanted::Matches };
        ngrams.count(columns, (estimate, 1), first, matches, ticker)?;
        resize(coefficients, longest, 0.0)?;
        let score = bleu(steps, closest, max_order, added, matches, coefficients);
        if wants_slopes && coefficients.iter().any(|&coefficient| coefficient != 0.0) {
            for coefficient in coefficients.iter_mut() {
                *coefficient = -*coefficient;
            }
            ngrams.count(columns, (estimate, 1), Wanted::Slopes(coefficients), matches, ticker)?;
        }
        Ok(score)
    }

    /// The expected matches of one order with one reference.
    fn matches_of(
        &mut self,
        estimate: Estimate,
        order: usize,
        reference: usize,
        factor: Option<f64>,
        ticker: &Ticker<'_>,
    ) -> Result<f64, Error> {
        if order > self.columns.steps {
            return Ok(0.0);
        }
        let range = self.range(reference);
        let Self { ngrams, columns, tokens, matches, coefficients, .. } = self;
        ngrams.set(std::iter::once(&tokens[range]), columns.count(), order, ticker)?;
        resize(matches, order, 0.0)?;
        resize(coefficients, order, factor.unwrap_or_default())?;
        let wanted = factor.map_or(Wanted::Matches, |_| Wanted::Slopes(coefficients));
        ngrams.count(columns, (estimate, order), wanted, matches, ticker)?;
        Ok(matches[order - 1])
    }

    /// Matches over lengths in units of what is matched: of the reference with the largest F, or the mean. `count` counts with
    /// one reference, and adds slopes times a factor.
    fn measured(
        &mut self,
        measure: Measure,
        best: bool,
        units: impl Fn(usize) -> usize,
        wants_slopes: bool,
        mut count: impl FnMut(&mut Self, usize, Option<f64>) -> Result<f64, Error>,
    ) -> Result<f64, Error> {
        let own = units(self.columns.steps);
        let scale = |measure, other: usize| match measure {
            Measure::F => 2.0 / (own + other).max(1) as f64,
            Measure::Precision => 1.0 / own.max(1) as f64,
            Measure::Recall => 1.0 / other.max(1) as f64,
        };
        let references = self.ends.len();
        if !best || references == 1 {
            let share = 1.0 / references as f64;
            let mut score = 0.0;
            for reference in 0..references {
                let factor = share * scale(measure, units(self.range(reference).len()));
                score += factor * count(self, reference, wants_slopes.then_some(-factor))?;
            }
            return Ok(score);
        }
        let (mut first, mut largest, mut score) = (0, f64::NEG_INFINITY, 0.0);
        for reference in 0..references {
            let other = units(self.range(reference).len());
            let found = count(self, reference, None)?;
            let f = scale(Measure::F, other) * found;
            if f > largest {
                (first, largest, score) = (reference, f, scale(measure, other) * found);
            }
        }
        if wants_slopes {
            let factor = -scale(measure, units(self.range(first).len()));
            count(self, first, Some(factor))?;
        }
        Ok(score)
    }
}

/// Where a reference stands among the tokens of all, of which each ends at one of `ends`.
fn range(ends: &[usize], reference: usize) -> Range<usize> {
    let start = if reference == 0 { 0 } else { ends[reference - 1] };
    start..ends[reference]
}

/// BLEU of expected matches of a hypothesis of so many tokens; `slopes` become those with respect to the matches. Orders
/// that it is too short for are left out, unless n-grams are added to them.
fn bleu(steps: usize, reference: usize, max_order: usize, added: f64, matches: &[f64], slopes: &mut [f64]) -> f64 {
    let (mut logarithms, mut orders) = (0.0, 0);
    for index in 0..max_order {
        let added = if index == 0 { 0.0 } else { added };
        let expected = matches.get(index).copied().unwrap_or_default() + added;
        let total = steps.saturating_sub(index) as f64 + added;
        if total == 0.0 || steps == 0 {
            break;
        }
        if expected < FEWEST {
            slopes.fill(0.0);
            return 0.0;
        }
        orders = index + 1;
        logarithms += ln(expected / total);
        if let Some(slope) = slopes.get_mut(index) {
            *slope = 1.0 / expected;
        }
    }
    if orders == 0 {
        return 0.0;
    }
    let penalty = if steps >= reference { 0.0 } else { 1.0 - reference as f64 / steps as f64 };
    let mut score = [penalty + logarithms / orders as f64];
    exp_each(&mut score);
    for slope in slopes {
        *slope *= score[0] / orders as f64;
    }
    score[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bleu_is_that_of_the_metric_where_matches_are_whole() {
        let mut slopes = [0.0; 4];
        // By sacrebleu 2.6.0: 7 tokens for 8, smoothed by one match more.
        let score = bleu(7, 8, 4, 1.0, &[5.0, 2.0, 0.0, 0.0], &mut slopes);
        assert!((score - 0.275_518_910_380_613_9).abs() < 1e-15);
        for (slope, matches) in slopes.iter().zip([5.0, 3.0, 1.0, 1.0]) {
            assert!((slope - score / 4.0 / matches).abs() < 1e-15);
        }
    }

    #[test]
    fn without_matches_there_is_no_slope() {
        let mut slopes = [1.0; 4];
        assert_eq!(bleu(7, 8, 4, 0.0, &[5.0, 2.0, 1.0, 1e-301], &mut slopes), 0.0);
        assert_eq!(slopes, [0.0; 4]);
        assert_eq!(bleu(0, 0, 4, 1.0, &[], &mut []), 0.0);
        // Too short for two orders, which are left out.
        assert_eq!(bleu(2, 2, 4, 0.0, &[2.0, 1.0], &mut slopes[..2]), 1.0);
    }
}
