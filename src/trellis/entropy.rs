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
use super::{Course, LANES, Meeting, Trellis, Visitor};
use crate::error::Error;
use crate::input::reserve;
use crate::parallel::Ticker;
use crate::simd::scaled::{self, BOTTOM};

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
struct States {
    blanks: Vec<Mean>,
    labels: Vec<Mean>,
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
fn forward(chain: &Chain, labels: usize, before: &States) -> States {
    let previous = |place: usize| if place > 0 { before.labels[place - 1] } else { NOTHING };
    let blanks = (0..=labels).map(|place| before.blanks[place].plus(previous(place))).collect();
    let labels = (0..labels)
        .map(|place| {
            let own = if chain.stay == 0.0 { before.labels[place] } else { NOTHING };
            let skipping = if chain.skips[place] == 0.0 { previous(place) } else { NOTHING };
            own.plus(before.blanks[place]).plus(skipping)
        })
        .collect();
    States { blanks, labels }
}

/// What every state leads to in the frame after.
fn backward(chain: &Chain, labels: usize, after: &States) -> States {
    let blanks = (0..=labels)
        .map(|place| after.blanks[place].plus(if place < labels { after.labels[place] } else { NOTHING }))
        .collect();
    let labels = (0..labels)
        .map(|place| {
            let own = if chain.stay == 0.0 { after.labels[place] } else { NOTHING };
            let may_skip = place + 1 < labels && chain.skips[place + 1] == 0.0;
            own.plus(after.blanks[place + 1]).plus(if may_skip { after.labels[place + 1] } else { NOTHING })
        })
        .collect();
    States { blanks, labels }
}

/// All α, from pass to pass.
#[derive(Default)]
pub(super) struct Alphas(Vec<States>);

impl Trellis {
    /// ln Z and the entropy; NaN where a frame is.
    pub(crate) fn entropy<V: Visitor>(
        &mut self,
        halves: &mut [V; 2],
        ticker: &Ticker<'_>,
    ) -> Result<(f64, f64), Error> {
        let course = self.course;
        let chain = &self.ends[0].chain;
        let labels = chain.labels();
        let workshop = &mut self.workshops[0];
        let mut alphas = reserve(course.frames)?;
        let mut states = States { blanks: vec![NOTHING; labels + 1], labels: vec![NOTHING; labels] };
        states.blanks[0].sum = (1.0, 0.0);
        for block in 0..course.blocks() {
            workshop.read(course, block, &mut halves[usize::from(block >= course.middle())])?;
            if workshop.frames.is_nan {
                return Ok((f64::NAN, f64::NAN));
            }
            for column in 0..workshop.frames.count {
                ticker.tick(20 * (2 * labels + 1))?;
                let emissions = Emissions { chain, frames: &workshop.frames };
                let mut next = forward(chain, labels, alphas.last().unwrap_or(&states));
                for (place, state) in next.blanks.iter_mut().enumerate() {
                    *state = state.times(emissions.blank(place, column));
                }
                for (place, state) in next.labels.iter_mut().enumerate() {
                    *state = state.times(emissions.label(place, column));
                }
                alphas.push(next);
            }
        }
        let last = alphas.last().unwrap_or(&states);
        let end = last.labels.last().map_or(last.blanks[labels], |&label| last.blanks[labels].plus(label));
        self.alphas = Alphas(alphas);
        self.end = (end.sum, end.mean);
        Ok((scaled::ln(end.sum), scaled::ln(end.sum) - end.mean))
    }

    /// Hands the visitors `weight` γ − `entropy_weight` γ (r − F) for γ: the slope of weight ℓ − `entropy_weight` H.
    pub(crate) fn entropy_posteriors<V: Visitor>(
        &mut self,
        (weight, entropy_weight): (f64, f64),
        halves: &mut [V; 2],
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let course: Course = self.course;
        let chain = &self.ends[0].chain;
        let labels = chain.labels();
        let workshop = &mut self.workshops[0];
        let (total, mean) = self.end;
        let mut betas = States { blanks: vec![NOTHING; labels + 1], labels: vec![NOTHING; labels] };
        betas.blanks[labels].sum = (1.0, 0.0);
        if let Some(last) = betas.labels.last_mut() {
            last.sum = (1.0, 0.0);
        }
        for block in (0..course.blocks()).rev() {
            let half = &mut halves[usize::from(block >= course.middle())];
            workshop.read(course, block, half)?;
            let Meeting { posteriors, stars, .. } = &mut workshop.meeting;
            posteriors.fill(0.0);
            *stars = [0.0; LANES];
            for column in (0..workshop.frames.count).rev() {
                ticker.tick(20 * (2 * labels + 1))?;
                let emissions = Emissions { chain, frames: &workshop.frames };
                let alpha = &self.alphas.0[block * LANES + column];
                let slope = |alpha: Mean, beta: Mean| {
                    let posterior = ratio(product(alpha.sum, beta.sum), total);
                    posterior * (weight - entropy_weight * (alpha.mean + beta.mean - mean))
                };
                for (place, (&alpha, beta)) in alpha.blanks.iter().zip(&mut betas.blanks).enumerate() {
                    match emissions.is_star(place) {
                        true => stars[column] += slope(alpha, *beta),
                        false => posteriors[column] += slope(alpha, *beta),
                    }
                    *beta = beta.times(emissions.blank(place, column));
                }
                for (place, (&alpha, beta)) in alpha.labels.iter().zip(&mut betas.labels).enumerate() {
                    posteriors[chain.slots[place] as usize * LANES + column] += slope(alpha, *beta);
                    *beta = beta.times(emissions.label(place, column));
                }
                betas = backward(chain, labels, &betas);
            }
            workshop.flatten();
            half.write(course.block(block), &workshop.frames, &workshop.meeting)?;
        }
        Ok(())
    }
}
