//! Connectionist temporal classification (Graves et al., 2006, <https://doi.org/10.1145/1143844.1143891>).
//!
//! ℓ = −ln Σ_π Πₜ p(πₜ, t), over all paths π of one label or blank a frame that give the target when repeats are merged
//! and blanks are dropped.          ∂ℓ/∂x = p − γ,   γ the posterior of each class in each frame
//!
//! A path is at blank j (with j labels behind it) or at label j (0 ≤ j < L). With B and A the summed probabilities of the
//! paths that are there, q the probability of the blank in frame t and e that of each label:
//!
//! ```text
//! B'[j] = (B[j] + A[j−1]) q                      j = 0..=L
//! A'[j] = (A[j] + B[j] + k[j] A[j−1]) e[j]       j = 0..L,  k[j] = 1 if label j differs from label j − 1, else 0
//! ```
//!
//! and backwards the same without the frame's own probabilities. Every state is a [`Scaled`] number: a mantissa and an
//! exponent of its own. A scale for each frame is silently wrong, because states of one frame lie further apart than a
//! float reaches; logarithms lose digits with every frame, and cost an exponential and a logarithm for every state.
//!
//! Frame t needs only the states that can be reached in t + 1 frames, and from which the end can be reached: a band.

use std::ops::Range;

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, f64x8};

use super::Scores;
use crate::error::Error;
use crate::float::{Element, Float};
use crate::input::{Labels, Sequences, zeros};
use crate::loss::{Buffers, Loss, Piece};
use crate::parallel::Ticker;
use crate::reduction::Measure;
use crate::simd::scaled::{self, BOTTOM, LANES, Scaled};
use crate::simd::{level, rows};

/// CTC with its checked inputs.
pub struct Ctc<'a, E> {
    logits: Sequences<'a, E>,
    targets: Labels,
    blank: usize,
    scores: Scores,
    zero_infinity: bool,
}

impl<'a, E: Element> Ctc<'a, E> {
    /// Puts checked inputs together.
    pub fn new(logits: Sequences<'a, E>, targets: Labels, blank: usize, scores: Scores, zero_infinity: bool) -> Self {
        Self { logits, targets, blank, scores, zero_infinity }
    }
}

/// What a thread keeps: working memory that grows to what its longest sequence needs.
pub struct Scratch<F> {
    buffers: Buffers<F>,
    chain: Chain,
    /// α of every frame where the gradient is asked for, else of two.
    alphas: Vec<f64>,
    /// β of two frames.
    betas: Vec<f64>,
    /// The place of each class among the classes of the chain, plus 1; 0 for none.
    places: Vec<u32>,
}

impl<E: Element> Loss for Ctc<'_, E> {
    type Element = E;
    type Scratch = Scratch<E::Float>;

    fn sequences(&self) -> &Sequences<'_, E> {
        &self.logits
    }

    fn scratch(&self) -> Result<Self::Scratch, Error> {
        let width = self.logits.width;
        Ok(Scratch {
            buffers: Buffers::new(width)?,
            chain: Chain::default(),
            alphas: vec![],
            betas: vec![],
            places: zeros(width)?,
        })
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

    fn measure(&self, sequence: usize) -> Measure {
        let length = self.targets.of(sequence).len().max(1) as f64;
        Measure { length, weight: 1.0, share: 1.0 / length }
    }

    fn work(&self) -> usize {
        let states = |sequence: usize| 2 * self.targets.of(sequence).len() + 1;
        let frames = self.logits.rows.iter().enumerate();
        frames.map(|(sequence, rows)| 1 + rows.count() * (rows.width() + states(sequence))).sum()
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Self::Scratch, ticker: &Ticker<'_>) -> Result<f64, Error> {
        let labels = self.targets.of(piece.sequence);
        let frames = self.logits.rows[piece.sequence].count();
        let Scratch { buffers, chain, alphas, betas, places } = scratch;
        chain.set(labels, self.blank, frames, places);
        let mut loss = match chain.is_feasible() {
            true => self.forward(piece, buffers, chain, alphas, ticker)?,
            false => f64::INFINITY,
        };
        if piece.wants_gradient() {
            let mut factor = [0.0];
            let factor = piece.factors(0..1, &mut factor)[0];
            if loss.is_nan() {
                let nan = E::Float::from_f64(f64::NAN);
                (0..frames).for_each(|t| piece.strip.read_and_write(t, 0, buffers, |_, out| out.fill(nan)));
            } else if loss == f64::INFINITY {
                (0..frames).for_each(|t| piece.strip.clear(t, 0));
            } else {
                self.backward(piece, buffers, chain, alphas, betas, factor, ticker)?;
            }
        }
        if self.zero_infinity && loss == f64::INFINITY {
            loss = 0.0;
        }
        if let Some(values) = &mut piece.values {
            values[0] = Float::from_f64(loss);
        }
        Ok(loss)
    }
}

impl<E: Element> Ctc<'_, E> {
    /// −ln of the probability of all paths; leaves α behind, of every frame where the gradient is asked for.
    fn forward(
        &self,
        piece: &Piece<'_, E>,
        buffers: &mut Buffers<E::Float>,
        chain: &mut Chain,
        alphas: &mut Vec<f64>,
        ticker: &Ticker<'_>,
    ) -> Result<f64, Error> {
        let row = chain.row();
        let kept = if piece.wants_gradient() { chain.frames } else { 2 };
        grow(alphas, row * kept.max(2))?;
        for t in 0..chain.frames {
            ticker.tick(self.logits.width + row)?;
            // α of the frame before and of this one; of frame 0 there is none before.
            let (now, before) = (t % kept, (t + kept - 1) % kept);
            let rows = [now * row..(now + 1) * row, before * row..(before + 1) * row];
            piece.strip.read(t, 0, buffers, |x| {
                if t == 0 {
                    dispatch!(level(), simd => chain.emit(simd, self.scores, x, None));
                    return chain.start(&mut alphas[..row]);
                }
                let [now, before] = alphas.get_disjoint_mut(rows).expect("rows do not overlap");
                dispatch!(level(), simd => {
                    chain.emit(simd, self.scores, x, None);
                    chain.advance(simd, before, now, t);
                });
            });
            if chain.is_nan {
                return Ok(f64::NAN);
            }
        }
        let last = match chain.frames {
            // Nothing was said, and nothing was to be.
            0 => (1.0, 0.0),
            frames => chain.end(&alphas[(frames - 1) % kept * row..][..row]),
        };
        chain.total = last;
        let loss = -scaled::ln(last);
        // Rounding may leave a certain path a little above 1.
        Ok(if self.scores == Scores::Logits && loss < 0.0 { 0.0 } else { loss + 0.0 })
    }

    /// Writes `factor` times the gradient, frame by frame from the last to the first.
    fn backward(
        &self,
        piece: &mut Piece<'_, E>,
        buffers: &mut Buffers<E::Float>,
        chain: &mut Chain,
        alphas: &[f64],
        betas: &mut Vec<f64>,
        factor: f64,
        ticker: &Ticker<'_>,
    ) -> Result<(), Error> {
        let row = chain.row();
        grow(betas, 2 * row)?;
        let (mut after, mut now) = betas[..2 * row].split_at_mut(row);
        StatesMut::of(after).clear();
        StatesMut::of(now).clear();
        for t in (0..chain.frames).rev() {
            ticker.tick(2 * self.logits.width + 2 * row)?;
            let alpha = &alphas[t * row..(t + 1) * row];
            if t + 1 == chain.frames {
                chain.finish(now);
            }
            piece.strip.read_and_write(t, 0, buffers, |x, out| {
                dispatch!(level(), simd => {
                    if t + 1 < chain.frames {
                        chain.retreat(simd, after, now, t);
                    }
                    chain.posteriors(simd, alpha, now, t);
                    let normal = chain.emit(simd, self.scores, x, Some(&mut *out));
                    chain.write_slopes(simd, out, normal, factor);
                });
            });
            std::mem::swap(&mut after, &mut now);
        }
        Ok(())
    }
}

fn grow(memory: &mut Vec<f64>, length: usize) -> Result<(), Error> {
    if memory.len() < length {
        *memory = vec![];
        *memory = zeros(length)?;
    }
    Ok(())
}

/// The chain of blanks and labels of one sequence: which state follows which, and the probabilities of one frame.
///
/// Everything is padded with zeros to whole vectors. A row of states holds the blanks (mantissas, then exponents) and the
/// labels, of which one more stands before the first and is always 0: every loop reads its neighbours without asking
/// whether there are any. States beside the band that share a vector with it are computed, too. Those that cannot be
/// reached yet come out as 0. Those that no longer matter may be anything, and stay beside the band: they reach one state
/// further with each frame, and so does the band.
#[derive(Default)]
struct Chain {
    frames: usize,
    /// L
    labels: usize,
    /// L + 1, in whole vectors.
    width: usize,
    /// Frames that the target needs: L, and one blank between equal labels.
    needed: usize,
    /// Added to the exponent of what comes to a label straight from the label before it: 0 where a path may, else
    /// [`NO_ARC`].
    skips: Vec<f64>,
    /// The classes that occur, the blank first.
    classes: Vec<usize>,
    /// The place among them of each label.
    places: Vec<u32>,
    /// Scores of those classes in this frame, less the largest of the row, and their probabilities.
    scores: Vec<f64>,
    of_class: (Vec<f64>, Vec<f64>),
    /// The probability of every label in this frame.
    of_label: (Vec<f64>, Vec<f64>),
    is_nan: bool,
    /// Posteriors of every blank and label, and of every class.
    blank_posterior: Vec<f64>,
    label_posterior: Vec<f64>,
    posterior: Vec<f64>,
    /// exp(x − max) of the classes that occur, where the whole row was written.
    unscaled: Vec<f64>,
    /// The probability of all paths, as mantissa and exponent.
    total: (f64, f64),
}

/// Leaves nothing of what it is added to, also beside sums that are 0. A mantissa of 0 would not do: its exponent alone
/// would push out what is far smaller.
const NO_ARC: f64 = 2.0 * BOTTOM;

/// One row of states, taken apart; mantissas and exponents.
struct States<'a> {
    blank: (&'a [f64], &'a [f64]),
    label: (&'a [f64], &'a [f64]),
}

struct StatesMut<'a> {
    blank: (&'a mut [f64], &'a mut [f64]),
    label: (&'a mut [f64], &'a mut [f64]),
}

impl<'a> States<'a> {
    fn of(row: &'a [f64]) -> Self {
        let (blank, label) = row.split_at(row.len() / 2);
        Self { blank: blank.split_at(blank.len() / 2), label: label.split_at(label.len() / 2) }
    }
}

impl<'a> StatesMut<'a> {
    fn of(row: &'a mut [f64]) -> Self {
        let half = row.len() / 2;
        let (blank, label) = row.split_at_mut(half);
        Self { blank: blank.split_at_mut(half / 2), label: label.split_at_mut(half / 2) }
    }

    fn clear(self) {
        for (mantissas, exponents) in [self.blank, self.label] {
            mantissas.fill(0.0);
            exponents.fill(BOTTOM);
        }
    }
}

impl Chain {
    fn set(&mut self, labels: &[usize], blank: usize, frames: usize, place_of: &mut [u32]) {
        self.frames = frames;
        self.labels = labels.len();
        self.width = (labels.len() + 1).next_multiple_of(LANES);
        self.classes.clear();
        self.classes.push(blank);
        self.places.clear();
        for &label in labels {
            if place_of[label] == 0 {
                place_of[label] = self.classes.len() as u32;
                self.classes.push(label);
            }
            self.places.push(place_of[label]);
        }
        self.classes[1..].iter().for_each(|&class| place_of[class] = 0);
        let repeats = labels.windows(2).filter(|pair| pair[0] == pair[1]).count();
        self.needed = labels.len() + repeats;
        self.skips.clear();
        self.skips.push(NO_ARC);
        self.skips.extend(labels.windows(2).map(|pair| if pair[0] == pair[1] { NO_ARC } else { 0.0 }));
        // One vector more, because going back reads the next label's.
        self.skips.resize(self.width + LANES, NO_ARC);
        self.skips[labels.len()..].fill(NO_ARC);
        let classes = self.classes.len();
        for vector in [&mut self.scores, &mut self.of_class.0, &mut self.of_class.1] {
            vector.clear();
            vector.resize(classes.next_multiple_of(LANES), 0.0);
        }
        self.posterior.resize(classes, 0.0);
        self.unscaled.resize(classes, 0.0);
        let (mantissas, exponents) = &mut self.of_label;
        for vector in [mantissas, exponents, &mut self.blank_posterior, &mut self.label_posterior] {
            vector.clear();
            vector.resize(self.width, 0.0);
        }
    }

    fn is_feasible(&self) -> bool {
        self.frames >= self.needed
    }

    /// How many numbers a row of states takes.
    fn row(&self) -> usize {
        4 * (self.width + LANES)
    }

    /// The places that matter in frame t: they are reached from the start, and the end is reached from them.
    fn band(&self, t: usize) -> Range<usize> {
        let left = self.frames - 1 - t;
        self.labels.saturating_sub(left + 1)..(self.labels + 1).min(t + 2)
    }

    /// The same in whole vectors.
    fn vectors(&self, t: usize) -> Range<usize> {
        let band = self.band(t);
        band.start / LANES * LANES..band.end.next_multiple_of(LANES)
    }

    /// The probabilities of one frame: of every class that occurs, and label by label. Returns 1/Σ exp(x − max) (1 where
    /// the scores are logarithms already). Where the gradient follows, the row's exponentials are written to `out`.
    #[inline(always)]
    fn emit<F: Float, S: Simd>(&mut self, simd: S, scores: Scores, x: &[F], out: Option<&mut [F]>) -> f64 {
        let (shift, normal) = match (scores, out) {
            (Scores::Logits, None) => {
                let shift = rows::maximum_in(simd, x);
                (shift.to_f64(), 1.0 / rows::exp_sum_in(simd, x, shift))
            }
            (Scores::Logits, Some(out)) => {
                let shift = rows::maximum_in(simd, x);
                let normal = 1.0 / rows::exp_sum_into_in(simd, x, shift, out);
                for (unscaled, &class) in self.unscaled.iter_mut().zip(&self.classes) {
                    *unscaled = out[class].to_f64();
                }
                (shift.to_f64(), normal)
            }
            (_, out) => {
                if let Some(out) = out {
                    out.fill(F::default());
                    self.unscaled.fill(0.0);
                }
                (0.0, 1.0)
            }
        };
        self.is_nan = normal.is_nan();
        for (score, &class) in self.scores.iter_mut().zip(&self.classes) {
            *score = x[class].to_f64() - shift;
            // +∞ is not the logarithm of a probability either.
            self.is_nan |= score.is_nan() || *score == f64::INFINITY;
        }
        // exp(x − max) / Σ needs no logarithm of the sum: it is a factor of the mantissa.
        let over_sum = Scaled::splat(simd, (normal, 0.0));
        for at in (0..self.scores.len()).step_by(LANES) {
            let probability = Scaled::exp(simd, f64x8::from_slice(simd, &self.scores[at..at + LANES])).times(over_sum);
            probability.store((&mut self.of_class.0, &mut self.of_class.1), at);
        }
        let labels = self.of_label.0.iter_mut().zip(&mut self.of_label.1);
        for ((mantissa, exponent), &place) in labels.zip(&self.places) {
            *mantissa = self.of_class.0[place as usize];
            *exponent = self.of_class.1[place as usize];
        }
        normal
    }

    fn of_blank(&self) -> (f64, f64) {
        (self.of_class.0[0], self.of_class.1[0])
    }

    /// α of frame 0: the first blank, or the first label.
    fn start(&self, row: &mut [f64]) {
        StatesMut::of(row).clear();
        let StatesMut { blank, label } = StatesMut::of(row);
        put(blank, 0, self.of_blank());
        if self.labels > 0 {
            put(label, 1, (self.of_label.0[0], self.of_label.1[0]));
        }
    }

    /// The sum over the last blank and the last label.
    fn end(&self, row: &[f64]) -> (f64, f64) {
        let States { blank, label } = States::of(row);
        let place = self.labels;
        scaled::sum((blank.0[place], blank.1[place]), (label.0[place], label.1[place]))
    }

    /// α of frame t from that of the frame before.
    #[inline(always)]
    fn advance<S: Simd>(&self, simd: S, before: &[f64], now: &mut [f64], t: usize) {
        let vectors = self.vectors(t);
        let before = States::of(before);
        let StatesMut { blank: now_blank, label: now_label } = StatesMut::of(now);
        let q = Scaled::splat(simd, self.of_blank());
        let zero = Scaled::splat(simd, (0.0, BOTTOM));
        for j in vectors.clone().step_by(LANES) {
            let blank = Scaled::load(simd, before.blank, j);
            let previous = Scaled::load(simd, before.label, j);
            let label = Scaled::load(simd, before.label, j + 1);
            let emission = Scaled::load(simd, (&self.of_label.0, &self.of_label.1), j);
            let skip = f64x8::from_slice(simd, &self.skips[j..j + LANES]);
            let skipping = Scaled { mantissa: previous.mantissa, exponent: previous.exponent + skip };
            blank.plus(previous).times(q).normal().store((&mut *now_blank.0, &mut *now_blank.1), j);
            let label = label.plus_two(blank, skipping).times(emission).normal();
            label.store((&mut *now_label.0, &mut *now_label.1), j + 1);
        }
        // The next frame may read one vector further, and reads the place before the first label.
        put((&mut *now_label.0, &mut *now_label.1), 0, (0.0, BOTTOM));
        if vectors.end < self.width {
            zero.store(now_blank, vectors.end);
            zero.store(now_label, vectors.end + 1);
        }
    }

    /// β of the last frame: 1 at the last blank and the last label.
    fn finish(&self, row: &mut [f64]) {
        let StatesMut { blank, label } = StatesMut::of(row);
        put(blank, self.labels, (1.0, 0.0));
        if self.labels > 0 {
            put(label, self.labels, (1.0, 0.0));
        }
    }

    /// β of frame t from that of the frame after, whose probabilities are those that were emitted last.
    #[inline(always)]
    fn retreat<S: Simd>(&self, simd: S, after: &mut [f64], now: &mut [f64], t: usize) {
        let StatesMut { blank: after_blank, label: after_label } = StatesMut::of(after);
        // First the states of the frame after are multiplied by their own probabilities, in place.
        let q = Scaled::splat(simd, self.of_blank());
        for j in self.vectors(t + 1).step_by(LANES) {
            let blank = Scaled::load(simd, (&*after_blank.0, &*after_blank.1), j).times(q).normal();
            blank.store((&mut *after_blank.0, &mut *after_blank.1), j);
            let emission = Scaled::load(simd, (&self.of_label.0, &self.of_label.1), j);
            let label = Scaled::load(simd, (&*after_label.0, &*after_label.1), j + 1).times(emission).normal();
            label.store((&mut *after_label.0, &mut *after_label.1), j + 1);
        }
        // Then every state sums what it leads to.
        let (after_blank, after_label) = ((&*after_blank.0, &*after_blank.1), (&*after_label.0, &*after_label.1));
        let StatesMut { blank: now_blank, label: now_label } = StatesMut::of(now);
        for j in self.vectors(t).step_by(LANES) {
            let blank = Scaled::load(simd, after_blank, j);
            let label = Scaled::load(simd, after_label, j + 1);
            blank.plus(label).normal().store((&mut *now_blank.0, &mut *now_blank.1), j);
            let next_blank = Scaled::load(simd, after_blank, j + 1);
            let next = Scaled::load(simd, after_label, j + 2);
            let skip = f64x8::from_slice(simd, &self.skips[j + 1..j + 1 + LANES]);
            let skipping = Scaled { mantissa: next.mantissa, exponent: next.exponent + skip };
            let label = label.plus_two(next_blank, skipping).normal();
            label.store((&mut *now_label.0, &mut *now_label.1), j + 1);
        }
    }

    /// The posterior of every class in frame t: α β over the total, summed over the places of the class.
    #[inline(always)]
    fn posteriors<S: Simd>(&mut self, simd: S, alpha: &[f64], beta: &[f64], t: usize) {
        let (alpha, beta) = (States::of(alpha), States::of(beta));
        let over_total = Scaled::splat(simd, (1.0 / self.total.0, -self.total.1));
        for j in self.vectors(t).step_by(LANES) {
            let blank = Scaled::load(simd, alpha.blank, j).times(Scaled::load(simd, beta.blank, j));
            let label = Scaled::load(simd, alpha.label, j + 1).times(Scaled::load(simd, beta.label, j + 1));
            blank.times(over_total).to_f64().store_slice(&mut self.blank_posterior[j..j + LANES]);
            label.times(over_total).to_f64().store_slice(&mut self.label_posterior[j..j + LANES]);
        }
        let band = self.band(t);
        self.posterior.fill(0.0);
        self.posterior[0] = self.blank_posterior[band.clone()].iter().sum();
        let labels = band.start..band.end.min(self.labels);
        for (&place, &posterior) in self.places[labels.clone()].iter().zip(&self.label_posterior[labels]) {
            self.posterior[place as usize] += posterior;
        }
        // The sum of a frame is 1, up to the rounding of all other frames, which this takes away.
        let sum: f64 = self.posterior.iter().sum();
        if sum > 0.0 && sum < f64::INFINITY {
            self.posterior.iter_mut().for_each(|posterior| *posterior /= sum);
        }
    }

    /// Turns a row that holds exp(x − max), or zeros, into factor (p − γ). The classes that occur are the small difference
    /// of two numbers: it is taken in float64.
    #[inline(always)]
    fn write_slopes<F: Float, S: Simd>(&self, simd: S, out: &mut [F], normal: f64, factor: f64) {
        rows::scale_in(simd, out, F::from_f64(factor * normal));
        for ((&class, &unscaled), &posterior) in self.classes.iter().zip(&self.unscaled).zip(&self.posterior) {
            out[class] = F::from_f64(factor * (unscaled * normal - posterior));
        }
    }
}

fn put((mantissas, exponents): (&mut [f64], &mut [f64]), place: usize, (mantissa, exponent): (f64, f64)) {
    mantissas[place] = mantissa;
    exponents[place] = exponent;
}
