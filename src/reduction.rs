//! From terms to what is asked for: one meaning of every reduction, in this file only.
//!
//! | reduction | result |
//! |---|---|
//! | `none` | every term |
//! | `sequence` | Σ over the valid terms of each sequence |
//! | `sequence_mean` | the same over the sequence's length |
//! | `sum` | Σ |
//! | `mean` | Σ shareₙ Σₜ ℓₙₜ / Σ weight |
//! | `batch_mean` | Σ / N |
//! | `mean_of_means` | policies only: the mean of `sequence_mean` over the sequences that have valid terms |
//! | `corpus` | text only: computed from the sum of statistics, not from terms |
//!
//! A term carries its weight already. What a sequence adds to the divisor of a mean, and the length of its
//! `sequence_mean`, is told beside it: its [`Measure`]. With a normalizer x, `mean` and `sum` are Σ / x, and
//! `mean_of_means` is the sum of the means over x.
//!
//! Every Σ is the correctly rounded sum of its terms (shareₙ ℓₙₜ, or weights), whatever their order, and one number that is a
//! quotient (of two such sums, or over N or x) is correctly rounded too: once, not three times. A reduction may also be *into* a [`LossSum`]: it then is `sum`, and the LossSum gets Σ ℓ, Σ weight and
//! the number of terms.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::exact::{Exact, LossSum};

/// What becomes of the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Every term.
    None,
    /// A sum for each sequence.
    Sequence,
    /// A mean for each sequence.
    SequenceMean,
    /// One sum.
    Sum,
    /// One mean over the weight of the valid terms.
    Mean,
    /// One sum over the number of sequences.
    BatchMean,
    /// One mean of the means of sequences (policies only).
    MeanOfMeans,
    /// The loss of the whole corpus (text only).
    Corpus,
}

/// The reductions of a numeric loss.
pub const NUMERIC: &[&str] = &["none", "sequence", "sequence_mean", "sum", "mean", "batch_mean"];
/// The reductions of the losses of policies.
pub const POLICY: &[&str] = &["none", "sequence", "sequence_mean", "sum", "mean", "batch_mean", "mean_of_means"];
/// The reductions of a text loss.
pub const TEXT: &[&str] = &["none", "sequence", "sequence_mean", "sum", "mean", "batch_mean", "corpus"];

/// `sequence` whose sums stay float64 whatever the numbers are. The command line asks for it; it is no choice of callers.
const WIDE_SEQUENCE: &str = "sequence_float64";

/// What a sequence counts for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// Its valid terms.
    pub count: usize,
    /// What its sum is divided by in `sequence_mean`: its valid terms; for CTC its target length (at least 1).
    pub length: f64,
    /// The factor on its terms in `mean`: 1; for CTC one over its target length (at least 1).
    pub share: f64,
}

impl Measure {
    /// Of a sequence all of whose valid terms are the same to a mean.
    pub fn of(count: usize) -> Self {
        Self { count, length: count as f64, share: 1.0 }
    }
}

/// What all sequences count for.
#[derive(Debug, Clone, Default)]
pub struct Measures {
    /// Each, where [`Reducer::measures`] says that it matters.
    pub each: Vec<Measure>,
    /// The weight of all valid terms: the divisor of `mean`.
    pub weight: Exact,
}

impl Measures {
    /// Σ weight; NaN where it is 0, because a mean of nothing is none, also where label smoothing leaves something to
    /// divide.
    fn divisor(&self) -> f64 {
        let weight = self.weight.value();
        if weight == 0.0 { f64::NAN } else { weight }
    }
}

/// What was asked for, once it is reduced.
#[derive(Debug, Clone, PartialEq)]
pub enum Reduced {
    /// The terms stand where they were written.
    Terms,
    /// One number for each sequence.
    Sequences(Vec<f64>),
    /// One number.
    Number(f64),
}

/// A reduction that fits its normalizer.
#[derive(Debug, Clone)]
pub struct Reducer {
    reduction: Reduction,
    normalizer: Option<f64>,
    into: Option<Arc<Mutex<LossSum>>>,
    is_wide: bool,
}

impl Reducer {
    /// Checks the word against the `choices`, and that a normalizer is positive and has something to normalise.
    pub fn new(reduction: &str, choices: &'static [&'static str], normalizer: Option<f64>) -> Result<Self, Error> {
        let is_wide = reduction == WIDE_SEQUENCE;
        let reduction = if is_wide { "sequence" } else { reduction };
        let known = match reduction {
            "none" => Reduction::None,
            "sequence" => Reduction::Sequence,
            "sequence_mean" => Reduction::SequenceMean,
            "sum" => Reduction::Sum,
            "mean" => Reduction::Mean,
            "batch_mean" => Reduction::BatchMean,
            "mean_of_means" => Reduction::MeanOfMeans,
            _ => Reduction::Corpus,
        };
        if !choices.contains(&reduction) {
            return Err(Error::Choice { argument: "reduction", value: reduction.to_owned(), choices });
        }
        if let Some(normalizer) = normalizer {
            if !matches!(known, Reduction::Sum | Reduction::Mean | Reduction::MeanOfMeans) {
                let message = format!("normalizer goes with reduction \"sum\" or \"mean\", not with \"{reduction}\"");
                return Err(Error::Value(message));
            }
            if !(normalizer > 0.0 && normalizer.is_finite()) {
                return Err(Error::Value(format!("normalizer is {normalizer}, expected a positive number")));
            }
        }
        Ok(Self { reduction: known, normalizer, into: None, is_wide })
    }

    /// `sum`, which is also added to `into`.
    pub fn into(into: Arc<Mutex<LossSum>>) -> Self {
        Self { reduction: Reduction::Sum, normalizer: None, into: Some(into), is_wide: false }
    }

    /// Whether sums of sequences stay float64.
    pub fn is_wide(&self) -> bool {
        self.is_wide
    }

    /// What becomes of the terms.
    pub fn reduction(&self) -> Reduction {
        self.reduction
    }

    /// Whether one number is asked for.
    pub fn is_number(&self) -> bool {
        !matches!(self.reduction, Reduction::None | Reduction::Sequence | Reduction::SequenceMean)
    }

    /// Whether [`Measures`] are needed.
    pub fn measures(&self) -> bool {
        match self.reduction {
            Reduction::SequenceMean | Reduction::MeanOfMeans => true,
            Reduction::Mean => self.normalizer.is_none(),
            _ => self.into.is_some(),
        }
    }

    /// The factor on the terms of a sequence before they are summed up to one number.
    pub fn share(&self, measure: Option<&Measure>) -> f64 {
        match (self.reduction, self.normalizer, measure) {
            (Reduction::Mean, None, Some(measure)) => measure.share,
            (Reduction::MeanOfMeans, _, Some(measure)) if measure.count > 0 => 1.0 / measure.length,
            _ => 1.0,
        }
    }

    /// What the sum of the means of sequences is divided by; NaN where no sequence has one.
    fn means(&self, measures: &Measures) -> f64 {
        let count = measures.each.iter().filter(|measure| measure.count > 0).count();
        self.normalizer.unwrap_or(if count == 0 { f64::NAN } else { count as f64 })
    }

    /// From the sum of each sequence to what is asked for.
    pub fn of_sequences(&self, mut sums: Vec<f64>, measures: &Measures) -> Reduced {
        if self.reduction == Reduction::SequenceMean {
            sums.iter_mut().zip(&measures.each).for_each(|(sum, measure)| *sum /= measure.length);
        }
        Reduced::Sequences(sums)
    }

    /// From the sum of all terms (each times its share) to the number that is asked for.
    pub fn of_sum(&self, sum: &Exact, sequences: usize, measures: &Measures) -> Reduced {
        if let Some(into) = &self.into {
            let count = measures.each.iter().map(|measure| measure.count as u64).sum();
            into.lock().unwrap_or_else(PoisonError::into_inner).add_sums(sum, &measures.weight, count);
        }
        Reduced::Number(match (self.reduction, self.normalizer) {
            (Reduction::MeanOfMeans, _) if self.means(measures).is_nan() => f64::NAN,
            (Reduction::MeanOfMeans, _) => sum.over(&Exact::from_iter([self.means(measures)])),
            (Reduction::Sum | Reduction::Mean, Some(normalizer)) => sum.over(&Exact::from_iter([normalizer])),
            (Reduction::Mean, None) if measures.divisor().is_nan() => f64::NAN,
            (Reduction::Mean, None) => sum.over(&measures.weight),
            (Reduction::BatchMean, _) => sum.over(&Exact::from_iter([sequences as f64])),
            _ => sum.value(),
        })
    }

    /// The same for sequences that have one term each, of weight 1.
    pub fn of_terms(&self, terms: Vec<f64>) -> Reduced {
        if !self.is_number() {
            return Reduced::Sequences(terms);
        }
        let weight = [terms.len() as f64].into_iter().collect();
        let measures = Measures { each: vec![Measure::of(1); terms.len()], weight };
        self.of_sum(&terms.iter().copied().collect(), terms.len(), &measures)
    }

    /// The derivative of the reduced value with respect to each sequence's terms.
    pub fn factors(&self, sequences: usize, measures: &Measures) -> Vec<f64> {
        match (self.reduction, self.normalizer) {
            (Reduction::SequenceMean, _) => measures.each.iter().map(|measure| 1.0 / measure.length).collect(),
            (Reduction::Sum | Reduction::Mean, Some(normalizer)) => vec![1.0 / normalizer; sequences],
            (Reduction::Mean, None) => {
                let weight = measures.divisor();
                measures.each.iter().map(|measure| measure.share / weight).collect()
            }
            (Reduction::BatchMean, _) => vec![1.0 / sequences as f64; sequences],
            (Reduction::MeanOfMeans, _) => {
                let means = self.means(measures);
                measures.each.iter().map(|measure| self.share(Some(measure)) / means).collect()
            }
            _ => vec![1.0; sequences],
        }
    }
}

/// Σ in the given order, with the rounding errors collected beside it (Neumaier 1974): as if added in twice the precision.
/// For sums inside of a term, whose order is given.
pub fn total(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0f64);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    // Infinities make the collected errors NaN.
    if sum.is_finite() { sum + lost } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_keeps_what_is_small() {
        assert_eq!(total([1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(total([f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(total([f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(total([]), 0.0);
    }

    #[test]
    fn every_reduction() {
        let measures = Measures { each: vec![Measure::of(2), Measure::of(1)], weight: [3.0].into_iter().collect() };
        let reduce = |word, normalizer| {
            let reducer = Reducer::new(word, NUMERIC, normalizer).unwrap();
            match reducer.is_number() {
                true => reducer.of_sum(&[6.0, 3.0].into_iter().collect(), 2, &measures),
                false => reducer.of_sequences(vec![6.0, 3.0], &measures),
            }
        };
        assert_eq!(reduce("sequence", None), Reduced::Sequences(vec![6.0, 3.0]));
        assert_eq!(reduce("sequence_mean", None), Reduced::Sequences(vec![3.0, 3.0]));
        assert_eq!(reduce("sum", None), Reduced::Number(9.0));
        assert_eq!(reduce("mean", None), Reduced::Number(3.0));
        assert_eq!(reduce("batch_mean", None), Reduced::Number(4.5));
        assert_eq!(reduce("mean", Some(18.0)), Reduced::Number(0.5));
        assert_eq!(reduce("sum", Some(18.0)), Reduced::Number(0.5));
        assert!(Reducer::new("mean_of_means", NUMERIC, None).is_err());
        let means = Reducer::new("mean_of_means", POLICY, None).unwrap();
        // (6 / 2 + 3 / 1) / 2; each share is on its terms already.
        let shares = measures.each.iter().map(|measure| means.share(Some(measure)));
        let sum = [6.0, 3.0].iter().zip(shares).map(|(sum, share)| sum * share).collect();
        assert_eq!(means.of_sum(&sum, 2, &measures), Reduced::Number(3.0));
        assert_eq!(means.factors(2, &measures), [0.25, 0.5]);
    }

    #[test]
    fn a_sum_into_another_brings_its_weight_and_its_count() {
        let measures = Measures { each: vec![Measure::of(2), Measure::of(1)], weight: [2.5].into_iter().collect() };
        let into = Arc::new(Mutex::new(LossSum::new(String::new())));
        let reducer = Reducer::into(into.clone());
        assert!(reducer.measures());
        for _ in 0..2 {
            assert_eq!(reducer.of_sum(&[6.0, 3.0].into_iter().collect(), 2, &measures), Reduced::Number(9.0));
        }
        assert_eq!(reducer.of_terms(vec![1.0, 2.0]), Reduced::Number(3.0));
        let into = into.lock().unwrap();
        assert_eq!((into.value(), into.weight(), into.count()), (21.0, 7.0, 8));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let message = Reducer::new("avg", NUMERIC, None).unwrap_err().to_string();
        assert!(message.starts_with("reduction is \"avg\", expected one of \"none\""), "{message}");
        assert!(Reducer::new("corpus", NUMERIC, None).is_err());
        let message = Reducer::new("none", NUMERIC, Some(3.0)).unwrap_err().to_string();
        assert!(message.starts_with("normalizer goes with"), "{message}");
        assert!(Reducer::new("mean", NUMERIC, Some(0.0)).is_err());
    }
}
