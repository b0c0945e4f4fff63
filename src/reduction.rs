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
//! | `corpus` | text only: computed from the sum of statistics, not from terms |
//!
//! A term carries its weight already. What a sequence adds to the divisor of a mean, and the length of its
//! `sequence_mean`, is its [`Measure`]. With a normalizer x, `mean` and `sum` are Σ / x.

use crate::error::Error;

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
    /// The loss of the whole corpus (text only).
    Corpus,
}

/// The reductions of a numeric loss.
pub const NUMERIC: &[&str] = &["none", "sequence", "sequence_mean", "sum", "mean", "batch_mean"];
/// The reductions of a text loss.
pub const TEXT: &[&str] = &["none", "sequence", "sequence_mean", "sum", "mean", "batch_mean", "corpus"];

/// What a sequence counts for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// What its sum is divided by in `sequence_mean`: its valid terms; for CTC its target length (at least 1).
    pub length: f64,
    /// What it adds to the divisor of `mean`: the weight of its valid terms; for CTC 1.
    pub weight: f64,
    /// The factor on its sum in `mean`: 1; for CTC one over its target length (at least 1).
    pub share: f64,
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reducer {
    reduction: Reduction,
    normalizer: Option<f64>,
}

impl Reducer {
    /// Checks the word against the `choices`, and that a normalizer is positive and has something to normalise.
    pub fn new(reduction: &str, choices: &'static [&'static str], normalizer: Option<f64>) -> Result<Self, Error> {
        let known = match reduction {
            "none" => Reduction::None,
            "sequence" => Reduction::Sequence,
            "sequence_mean" => Reduction::SequenceMean,
            "sum" => Reduction::Sum,
            "mean" => Reduction::Mean,
            "batch_mean" => Reduction::BatchMean,
            _ => Reduction::Corpus,
        };
        if !choices.contains(&reduction) {
            return Err(Error::Choice { argument: "reduction", value: reduction.to_owned(), choices });
        }
        if let Some(normalizer) = normalizer {
            if !matches!(known, Reduction::Sum | Reduction::Mean) {
                let message = format!("normalizer goes with reduction \"sum\" or \"mean\", not with \"{reduction}\"");
                return Err(Error::Value(message));
            }
            if !(normalizer > 0.0 && normalizer.is_finite()) {
                return Err(Error::Value(format!("normalizer is {normalizer}, expected a positive number")));
            }
        }
        Ok(Self { reduction: known, normalizer })
    }

    /// What becomes of the terms.
    pub fn reduction(&self) -> Reduction {
        self.reduction
    }

    /// Whether [`Measure`]s are needed.
    pub fn measures(&self) -> bool {
        match self.reduction {
            Reduction::SequenceMean => true,
            Reduction::Mean => self.normalizer.is_none(),
            _ => false,
        }
    }

    /// Reduces the sums of the sequences. `measures` holds one for each where [`Self::measures`] says so.
    pub fn reduce(&self, sums: Vec<f64>, measures: &[Measure]) -> Reduced {
        match (self.reduction, self.normalizer) {
            (Reduction::None, _) => Reduced::Terms,
            (Reduction::Sequence, _) => Reduced::Sequences(sums),
            (Reduction::SequenceMean, _) => {
                Reduced::Sequences(sums.iter().zip(measures).map(|(sum, measure)| sum / measure.length).collect())
            }
            (Reduction::Sum | Reduction::Mean, Some(normalizer)) => Reduced::Number(total(sums) / normalizer),
            (Reduction::Mean, None) => {
                let shares = sums.iter().zip(measures).map(|(sum, measure)| sum * measure.share);
                Reduced::Number(total(shares) / divisor(measures))
            }
            (Reduction::BatchMean, _) => {
                let sequences = sums.len() as f64;
                Reduced::Number(total(sums) / sequences)
            }
            (Reduction::Sum | Reduction::Corpus, None) | (Reduction::Corpus, Some(_)) => Reduced::Number(total(sums)),
        }
    }

    /// The derivative of the reduced value with respect to each sequence's terms.
    pub fn factors(&self, sequences: usize, measures: &[Measure]) -> Vec<f64> {
        match (self.reduction, self.normalizer) {
            (Reduction::SequenceMean, _) => measures.iter().map(|measure| 1.0 / measure.length).collect(),
            (Reduction::Sum | Reduction::Mean, Some(normalizer)) => vec![1.0 / normalizer; sequences],
            (Reduction::Mean, None) => {
                let weight = divisor(measures);
                measures.iter().map(|measure| measure.share / weight).collect()
            }
            (Reduction::BatchMean, _) => vec![1.0 / sequences as f64; sequences],
            _ => vec![1.0; sequences],
        }
    }
}

/// Σ weight; NaN where it is 0, because a mean of nothing is none, also where label smoothing leaves something to divide.
fn divisor(measures: &[Measure]) -> f64 {
    let weight = total(measures.iter().map(|measure| measure.weight));
    if weight == 0.0 { f64::NAN } else { weight }
}

/// Σ in the given order, with the rounding errors collected beside it (Neumaier 1974): as if added in twice the precision.
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
        let measures =
            [Measure { length: 2.0, weight: 2.0, share: 1.0 }, Measure { length: 1.0, weight: 1.0, share: 1.0 }];
        let reduce =
            |word, normalizer| Reducer::new(word, NUMERIC, normalizer).unwrap().reduce(vec![6.0, 3.0], &measures);
        assert_eq!(reduce("none", None), Reduced::Terms);
        assert_eq!(reduce("sequence", None), Reduced::Sequences(vec![6.0, 3.0]));
        assert_eq!(reduce("sequence_mean", None), Reduced::Sequences(vec![3.0, 3.0]));
        assert_eq!(reduce("sum", None), Reduced::Number(9.0));
        assert_eq!(reduce("mean", None), Reduced::Number(3.0));
        assert_eq!(reduce("batch_mean", None), Reduced::Number(4.5));
        assert_eq!(reduce("mean", Some(18.0)), Reduced::Number(0.5));
        assert_eq!(reduce("sum", Some(18.0)), Reduced::Number(0.5));
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
