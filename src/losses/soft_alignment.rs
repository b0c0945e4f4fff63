//! Losses of soft alignments between positions, with P(t, v) the probability of token v at position t, and the tokens y of
//! a reference.
//!
//! Soft ROUGE-L: the longest common subsequence, with the maximum over alignments made smooth,
//!
//! s(i, j) = γ ln (exp(s(i − 1, j) / γ) + exp(s(i, j − 1) / γ) + exp((s(i − 1, j − 1) + P(i, yⱼ)) / γ))
//!
//! L = s(T, R) − γ ln D(T, R), D the number of alignments (Delannoy's): γ ln of the mean over all of them of exp(matches / γ).
//! So L is between 0, which it is without any match, and the longest common subsequence, which it becomes for γ → 0. Its
//! slopes are the posteriors of the matches (Mensch and Blondel, 2018, <https://arxiv.org/abs/1802.03676>).
//!
//! EISL, the edit-invariant sequence loss (Liu et al., 2022, <https://arxiv.org/abs/2106.15078>): for each n-gram of the
//! reference the mean over where it could stand,
//!
//! ℓₙ = −meanⱼ Σᵢ wᵢⱼ A(i, j)        A(i, j) = 1/n Σₖ max(ln P(i + k, yⱼ₊ₖ), −20)        wᵢⱼ = softmaxᵢ (A(i, j) / τ)
//!
//! weighed over the orders n that both sides are long enough for; where there is none with a weight, the longest n that fits
//! counts alone, as in the authors' code. They add Gumbel noise to A in the softmax; this is the form without it. Its slopes are
//!
//! ∂ℓ/∂A(i, j) = −meanⱼ wᵢⱼ (1 + (A(i, j) − Σₖ wₖⱼ A(k, j)) / τ)        ∂ℓ/∂P = ∂ℓ/∂A / (n P), or 0 below the least logarithm

use super::expected_matches::Columns;
use crate::error::Error;
use crate::input::resize;
use crate::parallel::Ticker;
use crate::simd::elementary::exp_each;
use crate::simd::math::ln;

/// No logarithm of a probability is less.
const LEAST_LOG: f64 = -20.0;

/// The working memory of both.
#[derive(Default)]
pub struct Scratch {
    /// s: rows of R + 1; for the value alone three diagonals of T + 1.
    scores: Vec<f64>,
    /// Of a diagonal, or of a row, the largest of three and their distances from it.
    most: Vec<f64>,
    distances: Vec<f64>,
    /// Posteriors of a row of cells and of the one after it.
    here: Vec<f64>,
    after: Vec<f64>,
    /// Logarithms of all probabilities, and slopes with respect to them.
    logarithms: Vec<f64>,
    slopes: Vec<f64>,
}

impl Scratch {
    /// L of a reference whose tokens are columns; slopes times `factor` are added if it is given.
    pub fn soft_subsequence(
        &mut self,
        columns: &mut Columns,
        reference: &[u32],
        gamma: f64,
        factor: Option<f64>,
        ticker: &Ticker<'_>,
    ) -> Result<f64, Error> {
        let (rows, width) = (columns.steps, reference.len() + 1);
        if rows == 0 || reference.is_empty() {
            return Ok(0.0);
        }
        let end = self.fill_scores(columns, reference, gamma, factor.is_some(), ticker)?;
        let value = (end - gamma * log_alignments(rows, reference.len())).max(0.0);
        let Some(factor) = factor else { return Ok(value) };
        // From each cell back to the three that it came from, with exp of what they fall short of it for shares.
        let Self { scores, distances, here, after, .. } = self;
        resize(here, width, 0.0)?;
        resize(after, width, 0.0)?;
        here[reference.len()] = 1.0;
        for i in (1..=rows).rev() {
            ticker.tick(8 * width)?;
            resize(distances, 3 * width, 0.0)?;
            let (above, own) = scores[(i - 1) * width..][..2 * width].split_at(width);
            for j in 1..width {
                let p = columns.of(reference[j - 1] as usize)[i - 1];
                let ways = [above[j], own[j - 1], above[j - 1] + p];
                for (distance, way) in distances[3 * j..].iter_mut().zip(ways) {
                    *distance = (way - own[j]) / gamma;
                }
            }
            exp_each(&mut distances[3..]);
            after.fill(0.0);
            for j in (1..width).rev() {
                let posterior = here[j];
                let shares = &distances[3 * j..][..3];
                after[j] += posterior * shares[0];
                here[j - 1] += posterior * shares[1];
                let matched = posterior * shares[2];
                after[j - 1] += matched;
                columns.slopes_of(reference[j - 1] as usize)[i - 1] += factor * matched;
            }
            std::mem::swap(here, after);
        }
        Ok(value)
    }

    /// Fills s, a diagonal after another, whose cells do not depend on one another; returns the last of them. If they are
    /// not kept, a diagonal takes the place of the third before it.
    fn fill_scores(
        &mut self,
        columns: &Columns,
        reference: &[u32],
        gamma: f64,
        keeps: bool,
        ticker: &Ticker<'_>,
    ) -> Result<f64, Error> {
        let Self { scores, most, distances, .. } = self;
        let (rows, width) = (columns.steps, reference.len() + 1);
        let lines = if keeps { width } else { 3 };
        resize(scores, (rows + 1).checked_mul(lines).ok_or(Error::Memory(usize::MAX))?, 0.0)?;
        let place = |i: usize, diagonal: usize| match keeps {
            true => i * width + (diagonal - i),
            false => diagonal % 3 * (rows + 1) + i,
        };
        for diagonal in 2..=rows + reference.len() {
            let (first, last) = (1.max(diagonal.saturating_sub(reference.len())), rows.min(diagonal - 1));
            ticker.tick(8 * (last + 1 - first))?;
            most.clear();
            distances.clear();
            for i in first..=last {
                let p = columns.of(reference[diagonal - i - 1] as usize)[i - 1];
                let before = [place(i - 1, diagonal - 1), place(i, diagonal - 1), place(i - 1, diagonal - 2)];
                let [above, left, both] = before.map(|place| scores[place]);
                let ways = [above, left, both + p];
                let largest = above.max(left).max(both + p);
                most.push(largest);
                distances.extend(ways.map(|way| (way - largest) / gamma));
            }
            exp_each(distances);
            for (index, i) in (first..=last).enumerate() {
                let [a, b, c] = [0, 1, 2].map(|way| distances[3 * index + way]);
                scores[place(i, diagonal)] = most[index] + gamma * ln(a + b + c);
            }
        }
        Ok(scores[place(rows, rows + reference.len())])
    }

    /// The loss, with `weights` for the orders 1, 2, …, of which those that are too long for either side are left out, or the
    /// longest order that is not alone; and slopes times `factor`, if it is given.
    pub fn edit_invariant(
        &mut self,
        columns: &mut Columns,
        reference: &[u32],
        weights: &[f64],
        temperature: f64,
        factor: Option<f64>,
        ticker: &Ticker<'_>,
    ) -> Result<f64, Error> {
        let steps = columns.steps;
        if reference.is_empty() || steps == 0 {
            // Nothing is asked for, or nothing of it is there.
            return Ok(if reference.is_empty() { 0.0 } else { -LEAST_LOG });
        }
        let longest = steps.min(reference.len());
        let weights = &weights[..weights.len().min(longest)];
        let total: f64 = weights.iter().sum();
        let orders = if total == 0.0 { longest - 1..longest } else { 0..weights.len() };
        let Self { most: scores, here: shares, logarithms, slopes, .. } = self;
        resize(logarithms, columns.probabilities.len(), 0.0)?;
        resize(slopes, if factor.is_some() { columns.probabilities.len() } else { 0 }, 0.0)?;
        for (chunk, logarithms) in columns.probabilities.chunks(1024).zip(logarithms.chunks_mut(1024)) {
            ticker.tick(16 * chunk.len())?;
            for (&p, logarithm) in chunk.iter().zip(logarithms) {
                *logarithm = ln(p).max(LEAST_LOG);
            }
        }
        let mut loss = 0.0;
        for shorter in orders {
            let weight = if total == 0.0 { 1.0 } else { weights[shorter] / total };
            if weight == 0.0 {
                continue;
            }
            let (order, windows) = (shorter + 1, steps - shorter);
            let places = reference.len() - shorter;
            let share_of_place = weight / places as f64;
            for ngram in reference.windows(order) {
                ticker.tick((8 + order) * windows)?;
                resize(scores, windows, 0.0)?;
                for (k, &column) in ngram.iter().enumerate() {
                    let logarithms = &logarithms[column as usize * steps + k..][..windows];
                    scores.iter_mut().zip(logarithms).for_each(|(score, logarithm)| *score += logarithm);
                }
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                shares.clear();
                shares.extend(scores.iter().map(|score| (score - largest) / (order as f64 * temperature)));
                exp_each(shares);
                let sum: f64 = shares.iter().sum();
                let weighted: f64 = shares.iter().zip(&*scores).map(|(share, score)| share * score).sum();
                let mean = weighted / sum / order as f64;
                loss -= share_of_place * mean;
                let Some(factor) = factor else { continue };
                // ∂(Σ w A)/∂A(i) = w(i) (1 + (A(i) − Σ w A) / τ), and A(i) has 1/n of each logarithm.
                let scale = -factor * share_of_place / (sum * order as f64);
                for (share, score) in shares.iter_mut().zip(&*scores) {
                    *share *= scale * (1.0 + (score / order as f64 - mean) / temperature);
                }
                for (k, &column) in ngram.iter().enumerate() {
                    let slopes = &mut slopes[column as usize * steps + k..][..windows];
                    slopes.iter_mut().zip(&*shares).for_each(|(slope, own)| *slope += own);
                }
            }
        }
        if factor.is_some() {
            let logarithms = logarithms.iter().zip(&columns.probabilities);
            for ((out, slope), (&logarithm, p)) in columns.slopes.iter_mut().zip(slopes).zip(logarithms) {
                // A logarithm that is held does not move.
                if logarithm != LEAST_LOG {
                    *out += *slope / p;
                }
            }
        }
        Ok(loss)
    }
}

/// ln of the number of alignments of two lengths: Σₖ C(m, k) C(n, k) 2ᵏ.
fn log_alignments(one: usize, other: usize) -> f64 {
    const LARGE: f64 = 1e200;
    let (mut term, mut sum, mut scale) = (1.0, 1.0, 0.0);
    for k in 0..one.min(other) {
        term *= 2.0 * (one - k) as f64 * (other - k) as f64 / ((k + 1) as f64 * (k + 1) as f64);
        sum += term;
        if sum > LARGE {
            (term, sum) = (term / LARGE, sum / LARGE);
            scale += ln(LARGE);
        }
    }
    scale + ln(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::ticking;

    #[test]
    fn alignments_are_counted() {
        for (one, other, count) in [(0, 5, 1.0), (1, 1, 3.0), (2, 3, 25.0), (4, 4, 321.0)] {
            assert!((log_alignments(one, other) - f64::ln(count)).abs() < 1e-14);
        }
        // (1 + √2) squared for each step, in the long run.
        let growth = log_alignments(3001, 3001) - log_alignments(3000, 3000);
        assert!((growth - 2.0 * (1.0 + f64::sqrt(2.0)).ln()).abs() < 1e-3);
    }

    /// Tokens 0, 1, 0, 1 for sure, and the reference 1, 1, 0: two of it are in order.
    #[test]
    fn a_small_gamma_gives_the_longest_common_subsequence() {
        let mut columns = Columns::default();
        columns.set(4, 2).unwrap();
        columns.probabilities.copy_from_slice(&[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        let mut scratch = Scratch::default();
        let mut soft = |gamma: f64, factor| {
            ticking(|ticker| scratch.soft_subsequence(&mut columns, &[1, 1, 0], gamma, factor, ticker)).unwrap()
        };
        assert!((soft(1e-6, None) - 2.0).abs() < 1e-4);
        assert!(soft(0.5, None) < 2.0);
        assert_eq!(soft(0.5, Some(1.0)), soft(0.5, None));
        assert!(columns.slopes.iter().all(|slope| (0.0..=1.0).contains(slope)));
    }
}
