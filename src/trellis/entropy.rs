//! The entropy of the posterior of paths, and its gradient: what is beyond the sum over paths.
//!
//! ```text
//! H = −Σ_π P(π) ln P(π) = ln Z − F,   P(π) = w(π) / Z,   F = Σ_π P(π) ln w(π)
//! ∂H/∂ ln e(s, t) = −γ(s, t) (r(s, t) − F),   r the mean of ln w over the paths through state s in frame t
//! ```
//!
//! Beside the sum of its paths every state carries the mean of their logarithms; r is the mean of the beginnings plus that
//! of the ends. It is written for one state at a time, frame by frame, with every α kept.

use super::chain::Chain;
use super::frames::Frames;
use super::{LANES, Meeting, Trellis, Visitor, Wants};
use crate::error::Error;
use crate::input::make_room;
use crate::parallel::Ticker;
use crate::simd::scaled::{self, BOTTOM};

/// How many states are made at once.
const AT_ONCE: usize = 1 << 16;

/// A sum of weights of paths, and the mean of their logarithms.
#[derive(Debug, Clone, Copy)]
struct Mean {
    sum: (f64, f64),
    mean: f64,
}

const NOTHING: Mean = Mean { sum: (0.0, BOTTOM), mean: 0.0 };

impl Mean {
    fn plus(self, other: Self) -> Self {
        let sum = scaled::normal(scaled::sum(self.sum, other.sum));
        if sum.0 == 0.0 {
            return NOTHING;
        }
        let share = ratio(other.sum, sum);
        Self { sum, mean: self.mean + share * (other.mean - self.mean) }
    }

    fn times(self, weight: (f64, f64)) -> Self {
        match product(self.sum, weight) {
            (0.0, _) => NOTHING,
            sum => Self { sum, mean: self.mean + scaled::ln(weight) },
        }
    }
}

fn product(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    scaled::normal((a.0 * b.0, a.1 + b.1))
}

/// a / b for a that is not far above b.
fn ratio(a: (f64, f64), b: (f64, f64)) -> f64 {
    a.0 / b.0 * (a.1 - b.1).clamp(-1022.0, 1022.0).exp2()
}

/// The states of one frame: blanks, then labels.
#[derive(Clone, Copy)]
struct States<'a> {
    blanks: &'a [Mean],
    labels: &'a [Mean],
}

impl<'a> States<'a> {
    fn of(row: &'a [Mean]) -> Self {
        let (blanks, labels) = row.split_at(row.len() / 2 + 1);
        Self { blanks, labels }
    }
}

/// What an emission is multiplied by at every state.
struct Emissions<'a> {
    chain: &'a Chain,
    frames: &'a Frames,
}

impl Emissions<'_> {
    fn of_slot(&self, slot: usize, column: usize) -> (f64, f64) {
        let exponent = if self.frames.is_deep { self.frames.exponents[slot * LANES + column] } else { 0.0 };
        scaled::normal((self.frames.probabilities[slot * LANES + column], exponent))
    }

    fn gained(&self, kind: usize, place: usize, emission: (f64, f64)) -> (f64, f64) {
        let (mantissas, exponents) = &self.chain.gains[kind];
        if mantissas.is_empty() { emission } else { product(emission, (mantissas[place], exponents[place])) }
    }

    fn is_star(&self, place: usize) -> bool {
        self.chain.stars.get(place).is_some_and(|&star| star > 0.0)
    }

    fn blank(&self, place: usize, column: usize) -> (f64, f64) {
        let emission = match self.is_star(place) {
            true => scaled::normal((self.frames.stars[column], 0.0)),
            false => self.of_slot(0, column),
        };
        self.gained(0, place, emission)
    }

    fn label(&self, place: usize, column: usize) -> (f64, f64) {
        self.gained(1, place, self.of_slot(self.chain.slots[place] as usize, column))
    }
}

/// What arrives at every state from those of the frame before.
fn forward(chain: &Chain, before: States<'_>, into: &mut [Mean]) {
    let previous = |place: usize| if place > 0 { before.labels[place - 1] } else { NOTHING };
    let (blanks, labels) = into.split_at_mut(before.blanks.len());
    for (place, blank) in blanks.iter_mut().enumerate() {
        *blank = before.blanks[place].plus(previous(place));
    }
    for (place, label) in labels.iter_mut().enumerate() {
        let own = if chain.stay == 0.0 { before.labels[place] } else { NOTHING };
        let skipping = if chain.skips[place] == 0.0 { previous(place) } else { NOTHING };
        *label = own.plus(before.blanks[place]).plus(skipping);
    }
}

/// What every state leads to in the frame after.
fn backward(chain: &Chain, after: States<'_>, into: &mut [Mean]) {
    let label = |place: usize| after.labels.get(place).copied().unwrap_or(NOTHING);
    let (blanks, labels) = into.split_at_mut(after.blanks.len());
    for (place, blank) in blanks.iter_mut().enumerate() {
        *blank = after.blanks[place].plus(label(place));
    }
    for (place, state) in labels.iter_mut().enumerate() {
        let own = if chain.stay == 0.0 { after.labels[place] } else { NOTHING };
        let skipping = if chain.skips[place + 1] == 0.0 { label(place + 1) } else { NOTHING };
        *state = own.plus(after.blanks[place + 1]).plus(skipping);
    }
}

/// What is left behind for the gradient.
#[derive(Default)]
pub(super) struct Entropy {
    /// α of every frame where posteriors are wanted, else of two.
    alphas: Vec<Mean>,
    total: (f64, f64),
    /// F
    mean: f64,
}

/// Makes room for so many rows of states; what is in them is written before it is read.
fn grow(rows: &mut Vec<Mean>, length: usize, ticker: &Ticker<'_>) -> Result<(), Error> {
    make_room(rows, length.saturating_sub(rows.len()))?;
    while rows.len() < length {
        // Gigabytes take a while.
        ticker.tick(AT_ONCE)?;
        rows.resize(length.min(rows.len() + AT_ONCE), NOTHING);
    }
    Ok(())
}

impl Trellis {
    /// ln Z and the entropy; NaN where a frame is.
    pub(crate) fn entropy<V: Visitor>(
        &mut self,
        halves: &mut [V; 2],
        ticker: &Ticker<'_>,
    ) -> Result<(f64, f64), Error> {
        let course = self.course;
        let chain = &self.ends[0].chain;
        let states = 2 * chain.labels() + 1;
        let workshop = &mut self.workshops[0];
        // Before the first frame all is at the first blank.
        let kept = if self.wants == Wants::Total { 2 } else { course.frames + 1 };
        let mut alphas = std::mem::take(&mut self.entropy.alphas);
        grow(&mut alphas, kept.saturating_mul(states), ticker)?;
        alphas[..states].fill(NOTHING);
        alphas[0].sum = (1.0, 0.0);
        for block in 0..course.blocks() {
            workshop.read(course, block, &mut halves[usize::from(block >= course.middle())])?;
            if workshop.frames.is_nan {
                return Ok((f64::NAN, f64::NAN));
            }
            for column in 0..workshop.frames.count {
                ticker.tick(20 * states)?;
                let emissions = Emissions { chain, frames: &workshop.frames };
                let t = block * LANES + column;
                let [before, now] = [t % kept, (t + 1) % kept].map(|row| row * states..(row + 1) * states);
                let [before, now] = alphas.get_disjoint_mut([before, now]).expect("two rows");
                forward(chain, States::of(before), now);
                let (blanks, labels) = now.split_at_mut(chain.labels() + 1);
                for (place, state) in blanks.iter_mut().enumerate() {
                    *state = state.times(emissions.blank(place, column));
                }
                for (place, state) in labels.iter_mut().enumerate() {
                    *state = state.times(emissions.label(place, column));
                }
            }
        }
        let last = States::of(&alphas[course.frames % kept * states..][..states]);
        let end = last.labels.last().map_or(last.blanks[0], |&label| label.plus(last.blanks[chain.labels()]));
        self.entropy = Entropy { alphas, total: end.sum, mean: end.mean };
        Ok((scaled::ln(end.sum), scaled::ln(end.sum) - end.mean))
    }

    /// Hands the visitors `weight` γ − `entropy_weight` γ (r − F) for γ: the slope of weight ℓ − `entropy_weight` H.
    pub(crate) fn entropy_posteriors<V: Visitor>(
        &mut self,
        (weight, entropy_weight): (f64, f64),
        halves: &mut [V; 2],
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let course = self.course;
        let chain = &self.ends[0].chain;
        let labels = chain.labels();
        let states = 2 * labels + 1;
        let workshop = &mut self.workshops[0];
        let Entropy { alphas, total, mean } = &self.entropy;
        let (mut betas, mut before) = (vec![], vec![]);
        grow(&mut betas, states, ticker)?;
        grow(&mut before, states, ticker)?;
        betas[labels].sum = (1.0, 0.0);
        if labels > 0 {
            betas[2 * labels].sum = (1.0, 0.0);
        }
        for block in (0..course.blocks()).rev() {
            let half = &mut halves[usize::from(block >= course.middle())];
            workshop.read(course, block, half)?;
            let Meeting { posteriors, stars, .. } = &mut workshop.meeting;
            posteriors.fill(0.0);
            *stars = [0.0; LANES];
            for column in (0..workshop.frames.count).rev() {
                ticker.tick(20 * states)?;
                let emissions = Emissions { chain, frames: &workshop.frames };
                let alpha = States::of(&alphas[(block * LANES + column + 1) * states..][..states]);
                let slope = |alpha: Mean, beta: Mean| {
                    let posterior = ratio(product(alpha.sum, beta.sum), *total);
                    posterior * (weight - entropy_weight * (alpha.mean + beta.mean - mean))
                };
                let (blanks, label_betas) = betas.split_at_mut(labels + 1);
                for (place, (&alpha, beta)) in alpha.blanks.iter().zip(blanks).enumerate() {
                    match emissions.is_star(place) {
                        true => stars[column] += slope(alpha, *beta),
                        false => posteriors[column] += slope(alpha, *beta),
                    }
                    *beta = beta.times(emissions.blank(place, column));
                }
                for (place, (&alpha, beta)) in alpha.labels.iter().zip(label_betas).enumerate() {
                    posteriors[chain.slots[place] as usize * LANES + column] += slope(alpha, *beta);
                    *beta = beta.times(emissions.label(place, column));
                }
                backward(chain, States::of(&betas), &mut before);
                std::mem::swap(&mut betas, &mut before);
            }
            workshop.flatten();
            half.write(course.block(block), &workshop.frames, &workshop.meeting)?;
        }
        Ok(())
    }
}
