//! BLEU of sentences with the smoothings of Chen and Cherry (2014, <https://doi.org/10.3115/v1/W14-3346>), as NLTK 3.9
//! computes them.
//!
//! BLEU = BP · exp(Σₙ wₙ ln pₙ)    BP = exp(min(0, 1 − r / c))
//!
//! | method | pₙ = mₙ / tₙ becomes |
//! |---|---|
//! | 0 | 2.2·10⁻³⁰⁸ where nothing matches |
//! | 1 | ε / tₙ where nothing matches |
//! | 2 | (mₙ + 1) / (tₙ + 1) for n > 1 |
//! | 3 | 1 / (2ᵏ tₙ) where nothing matches for the k-th time |
//! | 4 | ln c / (2ᵏ K tₙ) where nothing matches for the k-th time, and c > 1 |
//! | 5 | (p′ₙ₋₁ + pₙ + pₙ₊₁) / 3, where p′ₙ₋₁ is the one before, smoothed, and p′₀ = p₁ + 1; after the last pₙ comes p₅ |
//! | 6 | (mₙ + α π) / (tₙ + α) for n > 2, where π = p′ₙ₋₁² / p′ₙ₋₂ |
//! | 7 | method 5 of method 4 |
//!
//! tₙ is at least 1. Where not even single tokens match, the score is 0. For method 6 NLTK demands trigrams that match; here
//! the formula stands by itself, and methods 5 and 7 take p₅ for however many weights there are, as NLTK does. A corpus is
//! scored from the sums of the rows.

use super::bleu::{Bleu, LONGEST, exp};
use super::ngrams;
use super::tokens::{Pair, Reader};
use super::{Level, Metric};
use crate::error::Error;
use crate::exact::Exact;
use crate::parallel::Ticker;
use crate::simd::math::ln;

/// How BLEU is computed.
#[derive(Debug, Clone)]
pub struct NltkBleu {
    weights: Vec<f64>,
    method: u32,
    epsilon: f64,
    alpha: f64,
    k: f64,
    /// Counts [`BEYOND`] orders at least.
    pub(super) bleu: Bleu,
}

/// The order that methods 5 and 7 look at after the last one.
const BEYOND: usize = 5;

impl NltkBleu {
    /// Checks the options: a weight for each order, the number of the smoothing method and its constants.
    pub fn new(
        weights: Vec<f64>,
        method: i64,
        [epsilon, alpha, k]: [f64; 3],
        tokenize: &str,
        lowercase: bool,
    ) -> Result<Self, Error> {
        if let Some(index) = weights.iter().position(|weight| !(0.0..f64::INFINITY).contains(weight)) {
            let weight = weights[index];
            return Err(Error::Value(format!("weights[{index}] is {weight}, which is not a weight of 0 or more")));
        }
        if weights.is_empty() {
            return Err(Error::Value("weights is empty, expected a weight for each order".into()));
        }
        if !(0..=7).contains(&method) {
            return Err(Error::range("method", &[], method, "a smoothing method in 0..=7"));
        }
        for (name, value) in [("epsilon", epsilon), ("alpha", alpha), ("k", k)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::Value(format!("{name} is {value}, which is not a number above 0")));
            }
        }
        if weights.len() > LONGEST as usize {
            let message =
                format!("weights has {} numbers, expected one for each order in 1..={LONGEST}", weights.len());
            return Err(Error::Value(message));
        }
        let bleu = Bleu::new(weights.len().max(BEYOND) as i64, "none", None, tokenize, lowercase)?;
        Ok(Self { weights, method: method as u32, epsilon, alpha, k, bleu })
    }

    /// Makes all totals of a row of BLEU at least 1.
    pub(super) fn totals_from_1(&self, row: &mut [i64]) {
        for total in &mut row[2 + self.bleu.max_order()..] {
            *total = (*total).max(1);
        }
    }

    /// The smoothed precisions of all orders that have a weight.
    fn precisions(&self, length: f64, matches: &[i64], totals: &[i64]) -> Vec<f64> {
        let [matches, totals] = [matches, totals].map(|counts| counts.iter().map(|&count| count as f64).collect());
        let (matches, totals): (Vec<f64>, Vec<f64>) = (matches, totals);
        let mut precisions: Vec<f64> = matches.iter().zip(&totals).map(|(matches, total)| matches / total).collect();
        let beyond = precisions[BEYOND - 1];
        precisions.truncate(self.weights.len());
        let mut power = 1.0;
        for index in 0..self.weights.len() {
            let nothing = matches[index] == 0.0;
            match self.method {
                0 if nothing => precisions[index] = f64::MIN_POSITIVE,
                1 if nothing => precisions[index] = self.epsilon / totals[index],
                2 if index > 0 => precisions[index] = (matches[index] + 1.0) / (totals[index] + 1.0),
                3 if nothing => {
                    power *= 2.0;
                    precisions[index] = 1.0 / (power * totals[index]);
                }
                4 | 7 if nothing && length > 1.0 => {
                    power *= 2.0;
                    precisions[index] = 1.0 / (power * self.k / ln(length)) / totals[index];
                }
                6 if index > 1 => {
                    let (before, last) = (precisions[index - 2], precisions[index - 1]);
                    let prior = if before == 0.0 { 0.0 } else { last * last / before };
                    // Here a text that is too short has no n-grams, and not one.
                    let total = totals[index].min((length - index as f64).max(0.0));
                    precisions[index] = (matches[index] + self.alpha * prior) / (total + self.alpha);
                }
                _ => {}
            }
        }
        if matches!(self.method, 5 | 7) {
            let mut before = precisions[0] + 1.0;
            for index in 0..self.weights.len() {
                let after = precisions.get(index + 1).copied().unwrap_or(beyond);
                before = (before + precisions[index] + after) / 3.0;
                precisions[index] = before;
            }
        }
        precisions
    }
}

impl Metric for NltkBleu {
    type Scratch = ngrams::Scratch;

    /// The length of the hypothesis, of the reference, matches of orders 1 to 5, or of as many as have a weight if these are
    /// more, totals of the same, which are at least 1.
    fn width(&self) -> usize {
        self.bleu.width()
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
        self.bleu.count(pair, row, scratch, ticker)?;
        self.totals_from_1(row);
        Ok(())
    }

    fn check(&self, row: &[i64]) -> Result<(), String> {
        self.bleu.check(row)
    }

    fn score(&self, row: &[i64], _: Level) -> f64 {
        let (lengths, counts) = row.split_at(2);
        let (matches, totals) = counts.split_at(self.bleu.max_order());
        if matches[0] == 0 {
            return 0.0;
        }
        let [hypothesis, reference] = [lengths[0], lengths[1]].map(|length| length as f64);
        let precisions = self.precisions(hypothesis, matches, totals);
        let weighted = precisions.iter().zip(&self.weights).filter(|(precision, _)| **precision > 0.0);
        // NLTK rounds the sum once.
        let logarithm = weighted.map(|(&precision, weight)| weight * ln(precision)).collect::<Exact>().value();
        let penalty = if hypothesis > reference { 1.0 } else { exp(1.0 - reference / hypothesis) };
        // The precisions of method 5 can exceed 1, and `exp` is for numbers up to 0.
        penalty * if logarithm > 0.0 { 1.0 / exp(-logarithm) } else { exp(logarithm) }
    }
}
