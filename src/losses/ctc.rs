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

use fearless_simd::dispatch;

use super::Scores;
use crate::error::Error;
use crate::float::{Element, Float};
use crate::input::{Labels, Sequences, zeros};
use crate::loss::{Buffers, Loss, Piece};
use crate::parallel::Ticker;
use crate::reduction::Measure;
use crate::simd::rows::{exp_sum, exp_sum_into, maximum, scale};
use crate::simd::scaled::Scaled;
use crate::simd::{level, math};

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
        frames.map(|(sequence, rows)| rows.count() * (rows.width() + states(sequence))).sum()
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
            piece.strip.read(t, 0, buffers, |x| chain.emit(self.scores, x, None));
            if chain.emissions_are_nan() {
                return Ok(f64::NAN);
            }
            let (now, before) = (t % kept, (t + kept - 1) % kept);
            if t == 0 {
                chain.start(&mut alphas[..row]);
            } else {
                let [before, now] = alphas
                    .get_disjoint_mut([before * row..(before + 1) * row, now * row..(now + 1) * row])
                    .expect("rows do not overlap");
                dispatch!(level(), _simd => chain.advance(before, now, t));
            }
        }
        let last = match chain.frames {
            // Nothing was said, and nothing was to be.
            0 => Scaled::ONE,
            frames => chain.end(&alphas[(frames - 1) % kept * row..][..row]),
        };
        chain.total = last;
        let loss = -last.ln();
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
        betas[..2 * row].fill(0.0);
        let (mut after, mut now) = betas[..2 * row].split_at_mut(row);
        chain.clear_row(after);
        chain.clear_row(now);
        for t in (0..chain.frames).rev() {
            ticker.tick(2 * self.logits.width + 2 * row)?;
            let alpha = &alphas[t * row..(t + 1) * row];
            if t + 1 == chain.frames {
                chain.finish(now);
                dispatch!(level(), _simd => chain.posteriors(alpha, now, t));
            } else {
                dispatch!(level(), _simd => {
                    chain.retreat(after, now, t);
                    chain.posteriors(alpha, now, t);
                });
            }
            piece.strip.read_and_write(t, 0, buffers, |x, out| {
                let normal = chain.emit(self.scores, x, Some(&mut *out));
                chain.write_slopes(out, normal, factor);
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
/// A row of states holds L + 1 blanks (mantissas, then exponents) and L + 2 labels, the first of which stands for the
/// label before the first and is always 0: so every loop reads its neighbour without asking whether there is one.
#[derive(Default)]
struct Chain {
    frames: usize,
    /// L
    labels: usize,
    /// Frames that the target needs: L, and one blank between equal labels.
    needed: usize,
    /// Whether a path may come to a label straight from the label before; L + 1 of them, the last one 0.
    skips: Vec<f64>,
    /// The classes that occur, the blank first.
    classes: Vec<usize>,
    /// The place among them of each label.
    place: Vec<u32>,
    /// Probabilities of those classes in this frame.
    of_class: Vec<Scaled>,
    /// The same for every label; L + 1 of them, the last one 0.
    mantissas: Vec<f64>,
    exponents: Vec<f64>,
    /// Posteriors of the classes in this frame.
    posterior: Vec<f64>,
    of_label: Vec<f64>,
    of_blank: Vec<f64>,
    /// What exp gave for the classes of the chain, where the whole row was written.
    unscaled: Vec<f64>,
    /// The probability of all paths.
    total: Scaled,
}

/// One row of states, taken apart.
struct States<'a> {
    blank: (&'a [f64], &'a [f64]),
    label: (&'a [f64], &'a [f64]),
}

struct StatesMut<'a> {
    blank: (&'a mut [f64], &'a mut [f64]),
    label: (&'a mut [f64], &'a mut [f64]),
}

impl Chain {
    fn set(&mut self, labels: &[usize], blank: usize, frames: usize, places: &mut [u32]) {
        self.frames = frames;
        self.labels = labels.len();
        self.classes.clear();
        self.classes.push(blank);
        self.place.clear();
        for &label in labels {
            if places[label] == 0 {
                places[label] = self.classes.len() as u32;
                self.classes.push(label);
            }
            self.place.push(places[label]);
        }
        self.classes[1..].iter().for_each(|&class| places[class] = 0);
        self.skips.clear();
        self.skips.push(0.0);
        self.skips.extend(labels.windows(2).map(|pair| f64::from(u8::from(pair[0] != pair[1]))));
        self.skips.resize(self.labels + 1, 0.0);
        self.needed = labels.len() + labels.windows(2).filter(|pair| pair[0] == pair[1]).count();
        let classes = self.classes.len();
        self.of_class.resize(classes, Scaled::ZERO);
        self.posterior.resize(classes, 0.0);
        self.unscaled.resize(classes, 0.0);
        for vector in [&mut self.mantissas, &mut self.exponents, &mut self.of_label, &mut self.of_blank] {
            vector.clear();
            vector.resize(self.labels + 1, 0.0);
        }
        self.total = Scaled::ZERO;
    }

    fn is_feasible(&self) -> bool {
        self.frames >= self.needed
    }

    /// How many numbers a row of states takes.
    fn row(&self) -> usize {
        4 * self.labels + 6
    }

    fn states<'a>(&self, row: &'a [f64]) -> States<'a> {
        let width = self.labels + 1;
        let (blank, label) = row[..4 * self.labels + 6].split_at(2 * width);
        States { blank: blank.split_at(width), label: label.split_at(width + 1) }
    }

    fn states_mut<'a>(&self, row: &'a mut [f64]) -> StatesMut<'a> {
        let width = self.labels + 1;
        let (blank, label) = row[..4 * self.labels + 6].split_at_mut(2 * width);
        StatesMut { blank: blank.split_at_mut(width), label: label.split_at_mut(width + 1) }
    }

    /// The places that matter in frame t: they are reached from the start, and the end is reached from them.
    fn band(&self, t: usize) -> Range<usize> {
        let left = self.frames - 1 - t;
        (self.labels.saturating_sub(left + 1))..(self.labels + 1).min(t + 2)
    }

    fn clear_row(&self, row: &mut [f64]) {
        let StatesMut { blank, label } = self.states_mut(row);
        for (mantissas, exponents) in [blank, label] {
            mantissas.fill(Scaled::ZERO.mantissa);
            exponents.fill(Scaled::ZERO.exponent);
        }
    }

    /// The probabilities of one frame: of every class that occurs, and label by label. Returns 1/Σ exp(x − max) (1 where
    /// the scores are logarithms already). Where the row's exponentials are wanted they are written to `out`.
    fn emit<F: Float>(&mut self, scores: Scores, x: &[F], out: Option<&mut [F]>) -> f64 {
        let (shift, log_sum, normal) = match (scores, out) {
            (Scores::Logits, out) => {
                let shift = maximum(x);
                let sum = match out {
                    None => exp_sum(x, shift),
                    Some(out) => {
                        let sum = exp_sum_into(x, shift, out);
                        for (unscaled, &class) in self.unscaled.iter_mut().zip(&self.classes) {
                            *unscaled = out[class].to_f64();
                        }
                        sum
                    }
                };
                (shift.to_f64(), math::ln(sum), 1.0 / sum)
            }
            (_, out) => {
                if let Some(out) = out {
                    out.fill(F::default());
                    self.unscaled.fill(0.0);
                }
                (0.0, 0.0, 1.0)
            }
        };
        for (scaled, &class) in self.of_class.iter_mut().zip(&self.classes) {
            *scaled = Scaled { mantissa: (x[class].to_f64() - shift) - log_sum, exponent: 0.0 };
        }
        dispatch!(level(), _simd => self.exponentiate());
        normal
    }

    #[inline(always)]
    fn exponentiate(&mut self) {
        for scaled in &mut self.of_class {
            let x = scaled.mantissa;
            // Neither NaN nor +∞ is the logarithm of a probability.
            *scaled = if x < f64::INFINITY { Scaled::exp(x) } else { Scaled { mantissa: f64::NAN, exponent: 0.0 } };
        }
        let emissions = self.mantissas.iter_mut().zip(&mut self.exponents);
        for ((mantissa, exponent), &place) in emissions.zip(&self.place) {
            let scaled = self.of_class[place as usize];
            *mantissa = scaled.mantissa;
            *exponent = scaled.exponent;
        }
    }

    fn emissions_are_nan(&self) -> bool {
        self.of_class.iter().any(|scaled| scaled.mantissa.is_nan())
    }

    /// α of frame 0: the first blank, or the first label.
    fn start(&self, row: &mut [f64]) {
        self.clear_row(row);
        let StatesMut { blank, label } = self.states_mut(row);
        let first = self.of_class[0].normal();
        (blank.0[0], blank.1[0]) = (first.mantissa, first.exponent);
        if self.labels > 0 {
            let first = Scaled { mantissa: self.mantissas[0], exponent: self.exponents[0] }.normal();
            (label.0[1], label.1[1]) = (first.mantissa, first.exponent);
        }
    }

    /// The sum over the last blank and the last label.
    fn end(&self, row: &[f64]) -> Scaled {
        let States { blank, label } = self.states(row);
        let place = self.labels;
        let blank = Scaled { mantissa: blank.0[place], exponent: blank.1[place] };
        let label = Scaled { mantissa: label.0[place], exponent: label.1[place] };
        Scaled::sum_of_two(blank, label).normal()
    }

    /// α of frame t from that of the frame before.
    #[inline(always)]
    fn advance(&self, before: &[f64], now: &mut [f64], t: usize) {
        let band = self.band(t);
        let before = self.states(before);
        let now = self.states_mut(now);
        let count = band.len();
        // Slices of one length let the compiler drop the checks and make vectors of the loop.
        let (bm, be) = (&before.blank.0[band.clone()], &before.blank.1[band.clone()]);
        let (pm, pe) = (&before.label.0[band.clone()], &before.label.1[band.clone()]);
        let own = band.start + 1..band.end + 1;
        let (am, ae) = (&before.label.0[own.clone()], &before.label.1[own.clone()]);
        let (em, ee) = (&self.mantissas[band.clone()], &self.exponents[band.clone()]);
        let skips = &self.skips[band.clone()];
        let (out_bm, out_be) = (&mut now.blank.0[band.clone()], &mut now.blank.1[band.clone()]);
        let (out_am, out_ae) = (&mut now.label.0[own.clone()], &mut now.label.1[own]);
        let q = self.of_class[0];
        for j in 0..count {
            let blank = Scaled { mantissa: bm[j], exponent: be[j] };
            let label = Scaled { mantissa: am[j], exponent: ae[j] };
            let previous = Scaled { mantissa: pm[j], exponent: pe[j] };
            let emission = Scaled { mantissa: em[j], exponent: ee[j] };
            let to_blank = Scaled::sum_of_two(blank, previous).times(q).normal();
            let to_label = Scaled::sum(label, blank, previous, skips[j]).times(emission).normal();
            (out_bm[j], out_be[j]) = (to_blank.mantissa, to_blank.exponent);
            (out_am[j], out_ae[j]) = (to_label.mantissa, to_label.exponent);
        }
        // The next frame reads one place further, and the label before the first.
        (now.label.0[0], now.label.1[0]) = (Scaled::ZERO.mantissa, Scaled::ZERO.exponent);
        if band.end <= self.labels {
            (now.blank.0[band.end], now.blank.1[band.end]) = (Scaled::ZERO.mantissa, Scaled::ZERO.exponent);
            (now.label.0[band.end + 1], now.label.1[band.end + 1]) = (Scaled::ZERO.mantissa, Scaled::ZERO.exponent);
        }
    }

    /// β of the last frame: 1 at the last blank and the last label.
    fn finish(&self, row: &mut [f64]) {
        let StatesMut { blank, label } = self.states_mut(row);
        let place = self.labels;
        (blank.0[place], blank.1[place]) = (Scaled::ONE.mantissa, Scaled::ONE.exponent);
        if place > 0 {
            (label.0[place], label.1[place]) = (Scaled::ONE.mantissa, Scaled::ONE.exponent);
        }
    }

    /// β of frame t from that of the frame after, whose probabilities are those that were emitted last.
    #[inline(always)]
    fn retreat(&self, after: &mut [f64], now: &mut [f64], t: usize) {
        let width = self.labels + 1;
        let after = self.states_mut(after);
        // First the frame after is multiplied by its own probabilities, in place.
        let band = self.band(t + 1);
        let q = self.of_class[0];
        let multiply = |(mantissas, exponents): (&mut [f64], &mut [f64]), m: &[f64], e: &[f64]| {
            for (((mantissa, exponent), &m), &e) in mantissas.iter_mut().zip(exponents).zip(m).zip(e) {
                let product = Scaled { mantissa: *mantissa, exponent: *exponent };
                let product = product.times(Scaled { mantissa: m, exponent: e }).normal();
                (*mantissa, *exponent) = (product.mantissa, product.exponent);
            }
        };
        for (mantissa, exponent) in after.blank.0[band.clone()].iter_mut().zip(&mut after.blank.1[band.clone()]) {
            let product = Scaled { mantissa: *mantissa, exponent: *exponent }.times(q).normal();
            (*mantissa, *exponent) = (product.mantissa, product.exponent);
        }
        let own = band.start + 1..band.end + 1;
        let labels = (&mut after.label.0[own.clone()], &mut after.label.1[own]);
        multiply(labels, &self.mantissas[band.clone()], &self.exponents[band]);
        // Then every state sums what it leads to. Behind the last blank there is nothing, so its place is apart.
        let after = (after.blank, after.label);
        let now = self.states_mut(now);
        let band = self.band(t);
        for j in band.clone() {
            let blank = Scaled { mantissa: after.0.0[j], exponent: after.0.1[j] };
            // Label j stands at place j + 1; there is none behind the last blank.
            let label = Scaled { mantissa: after.1.0[j + 1], exponent: after.1.1[j + 1] };
            let sum = Scaled::sum_of_two(blank, label).normal();
            (now.blank.0[j], now.blank.1[j]) = (sum.mantissa, sum.exponent);
        }
        for j in band.start..band.end.min(width - 1) {
            let label = Scaled { mantissa: after.1.0[j + 1], exponent: after.1.1[j + 1] };
            let blank = Scaled { mantissa: after.0.0[j + 1], exponent: after.0.1[j + 1] };
            let next = Scaled { mantissa: after.1.0[j + 2], exponent: after.1.1[j + 2] };
            let sum = Scaled::sum(label, blank, next, self.skips[j + 1]).normal();
            (now.label.0[j + 1], now.label.1[j + 1]) = (sum.mantissa, sum.exponent);
        }
    }

    /// The posterior of every class in frame t: α β over the total, summed over the places of the class.
    #[inline(always)]
    fn posteriors(&mut self, alpha: &[f64], beta: &[f64], t: usize) {
        let band = self.band(t);
        let alpha = self.states(alpha);
        let beta = self.states(beta);
        let total = self.total;
        let inverse = 1.0 / total.mantissa;
        let posterior = |am: f64, ae: f64, bm: f64, be: f64| {
            Scaled { mantissa: am * bm * inverse, exponent: ae + be - total.exponent }.to_f64()
        };
        for j in band.clone() {
            self.of_blank[j] = posterior(alpha.blank.0[j], alpha.blank.1[j], beta.blank.0[j], beta.blank.1[j]);
            let (am, ae) = (alpha.label.0[j + 1], alpha.label.1[j + 1]);
            self.of_label[j] = posterior(am, ae, beta.label.0[j + 1], beta.label.1[j + 1]);
        }
        self.posterior.fill(0.0);
        self.posterior[0] = self.of_blank[band.clone()].iter().sum();
        for j in band.start..band.end.min(self.labels) {
            self.posterior[self.place[j] as usize] += self.of_label[j];
        }
    }

    /// Turns a row that holds exp(x − max), or zeros, into factor (p − γ).
    fn write_slopes<F: Float>(&self, out: &mut [F], normal: f64, factor: f64) {
        scale(out, F::from_f64(factor * normal));
        for ((&class, &unscaled), &posterior) in self.classes.iter().zip(&self.unscaled).zip(&self.posterior) {
            out[class] = F::from_f64(factor * (unscaled * normal - posterior));
        }
    }
}
