//! Connectionist temporal classification (Graves et al., 2006, <https://doi.org/10.1145/1143844.1143891>).
//!
//! ℓ = −ln Σ_π Πₜ p(πₜ, t), over all paths π of one label or blank a frame that give the target when repeats are merged
//! and blanks are dropped.          ∂ℓ/∂x = p − γ,   γ the posterior of each class in each frame
//!
//! The sum over paths and the posteriors are those of `trellis`. Here are its ends: logits are read once for
//! the loss and once more for the gradient, and no probability is kept from one to the other but the sum of each frame.
//!
//! # Variants
//!
//! | option | what changes |
//! |---|---|
//! | temperature τ | p = softmax(x / τ) |
//! | log priors r (Huang et al., 2024, <https://arxiv.org/abs/2406.02560>) | a path has Πₜ p(πₜ, t) exp(−r(πₜ)); the gradient stays p − γ |
//! | delay penalty λ (Kang et al., 2022, <https://arxiv.org/abs/2211.00490>) | a path has exp(−λ Σⱼ (tⱼ − (T−1)/2)) more, tⱼ the first frame of label j |
//! | stars w (Cai et al., 2022, <https://openreview.net/forum?id=0RqDp8FCW5Z>) | a blank at a star has q + w (1 − q) for q |
//! | no merging of repeats (Laptev et al., 2021, <https://arxiv.org/abs/2110.03098>) | a label lasts one frame |
//! | entropy β (Liu et al., 2018, EnCTC, <https://papers.nips.cc/paper/2018/hash/e44fea3bec53bcea3b7513ccef5857ac-Abstract.html>) | ℓ − β H(π), H the entropy of the posterior of paths |
//! | focal γ (Feng et al., 2019, <https://doi.org/10.1155/2019/9345861>) | (1 − exp(−ℓ))^γ ℓ |
//! | label smoothing ε (Kim et al., 2018, <https://arxiv.org/abs/1711.02212>) | (1 − ε) ℓ + ε Σₜ KL(u ‖ pₜ), u uniform |
//! | consistency α (Yao et al., 2025, <https://arxiv.org/abs/2410.05101>) | ℓ + α Σₜ KL(p′ₜ ‖ pₜ), p′ of another view, a constant |
//!
//! They can be combined: (1 − ε) focal(ℓ) − β H + ε Σ KL(u ‖ p) + α Σ KL(p′ ‖ p).

use std::ops::{Range, RangeInclusive};

use fearless_simd::dispatch;

use super::Scores;
use crate::error::Error;
use crate::exact::Exact;
use crate::float::{Element, Float};
use crate::input::{AnyRows, Labels, Sequences, make_room, reserve, resize, zeros};
use crate::loss::{Buffers, Loss, Piece, Strip, Worker};
use crate::parallel::{Ticker, Watch, for_each_in_parts};
use crate::reduction::Measure;
use crate::simd::{Stored, across, level, math, rows, scaled};
pub use crate::trellis::Stars;
use crate::trellis::{Frames, LANES, Meeting, Topology, Trellis, Visitor, Wants};

/// Rows of at most this many logits are taken eight at a time: what a row costs beside its exponentials (the largest and
/// the sum across a vector, the last vector, which is not full) is then paid once for eight.
const SHORT: usize = 128;

/// Weights of paths may be exp of this at most, so that float64 holds them beside a probability.
const MOST_NATS: f64 = 500.0;

/// CTC with its checked inputs.
pub struct Ctc<'a, E> {
    logits: Sequences<'a, E>,
    targets: Labels,
    blank: usize,
    scores: Scores,
    options: Options<'a>,
}

/// What may be added to CTC; see the table above.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Whether a loss of ∞ becomes 0.
    pub zero_infinity: bool,
    /// Whether equal labels in a row are one: false for labels that last one frame.
    pub merge_repeated: bool,
    /// τ
    pub temperature: f64,
    /// Logarithms of the priors of all classes, ...
    pub log_priors: Option<Vec<f64>>,
    /// ... and their weight.
    pub prior_weight: f64,
    /// λ
    pub delay_penalty: f64,
    /// Where any class may stand, ...
    pub stars: Stars,
    /// ... and −ln w.
    pub star_penalty: f64,
    /// β
    pub entropy_weight: f64,
    /// γ
    pub focal: f64,
    /// ε
    pub label_smoothing: f64,
    /// Logits of another view of each sequence, ...
    pub views: Option<Vec<AnyRows<'a>>>,
    /// ... and α.
    pub consistency_weight: f64,
    /// Whether the gradient is to be the posterior γ itself.
    pub posterior: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            zero_infinity: false,
            merge_repeated: true,
            temperature: 1.0,
            log_priors: None,
            prior_weight: 1.0,
            delay_penalty: 0.0,
            stars: Stars::default(),
            star_penalty: 0.0,
            entropy_weight: 0.0,
            focal: 0.0,
            label_smoothing: 0.0,
            views: None,
            consistency_weight: 0.2,
            posterior: false,
        }
    }
}

impl Options<'_> {
    fn check(&self, scores: Scores, classes: usize) -> Result<(), Error> {
        let within = |name: &str, value: f64, range: RangeInclusive<f64>| {
            if range.contains(&value) {
                return Ok(());
            }
            let (least, most) = range.into_inner();
            Err(Error::Value(format!("{name} is {value}, expected a number from {least} to {most}")))
        };
        // Beyond these float64, or float32 logits, would hold nothing of what is asked for.
        within("temperature", self.temperature, 1e-6..=1e6)?;
        within("delay_penalty", self.delay_penalty, -1e6..=1e6)?;
        within("star_penalty", self.star_penalty, 0.0..=MOST_NATS)?;
        within("entropy_weight", self.entropy_weight, -1e6..=1e6)?;
        within("focal_gamma", self.focal, 0.0..=1e3)?;
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let message = format!("label_smoothing is {}, expected a number in [0, 1)", self.label_smoothing);
            return Err(Error::Value(message));
        }
        within("consistency_weight", self.consistency_weight, 0.0..=1e6)?;
        within("prior_weight", self.prior_weight, -1e6..=1e6)?;
        if let Some(priors) = &self.log_priors {
            if priors.len() != classes {
                return Err(Error::shape("log_priors", &[priors.len()], format!("({classes},)")));
            }
            for (class, prior) in priors.iter().enumerate() {
                if !prior.is_finite() {
                    return Err(Error::Value(format!("log_priors[{class}] is {prior}, expected a finite number")));
                }
                within(
                    &format!("log_priors[{class}] * prior_weight"),
                    prior * self.prior_weight,
                    -MOST_NATS..=MOST_NATS,
                )?;
            }
        }
        let of_softmax = [("temperature", self.temperature != 1.0), ("star", self.stars != Stars::default())];
        match of_softmax.iter().find(|(_, is_set)| *is_set && scores != Scores::Logits) {
            Some((name, _)) => {
                Err(Error::Value(format!("{name} goes with scores=\"logits\", whose softmax it changes")))
            }
            None => Ok(()),
        }
    }
}

impl<'a, E: Element> Ctc<'a, E> {
    /// Puts checked inputs together, and checks the options.
    pub fn new(
        logits: Sequences<'a, E>,
        targets: Labels,
        blank: usize,
        scores: Scores,
        options: Options<'a>,
    ) -> Result<Self, Error> {
        options.check(scores, logits.width)?;
        Ok(Self { logits, targets, blank, scores, options })
    }

    fn topology(&self) -> Topology {
        let Options { merge_repeated, delay_penalty, stars, .. } = self.options;
        Topology { merge_repeated, delay_penalty, stars, one_by_one: false }
    }

    /// Whether e⁻ˡ is the probability of a set of different paths, and so at most 1.
    fn is_probability(&self) -> bool {
        let Options { log_priors, delay_penalty, stars, .. } = &self.options;
        self.scores == Scores::Logits && log_priors.is_none() && *delay_penalty == 0.0 && *stars == Stars::default()
    }
}

/// What a thread keeps: working memory that grows to what its longest sequence needs.
struct Scratch<F> {
    sides: [Side<F>; 2],
    classes: Classes,
    trellis: Trellis,
    softmax: Vec<Softmax<F>>,
}

/// Rows of one half of the frames.
struct Side<F> {
    buffers: Buffers<F>,
    /// Eight rows, and the same lying across, where rows are short; else empty. They are filled up with −∞, which has no
    /// part in a softmax.
    rows: Vec<F>,
    columns: Vec<F>,
    /// The row over the temperature; empty where that is 1.
    tempered: Vec<F>,
    /// Another view of the row, and its exponentials.
    view: Vec<F>,
    exponentials: Vec<F>,
    /// What is written of the classes that occur, in a block of frames.
    slopes: Vec<f64>,
}

/// What is kept of a frame: its largest logit, and one over its sum of exponentials.
#[derive(Clone, Copy, Default)]
struct Softmax<F> {
    shift: F,
    normal: f64,
}

impl<F: Float> Side<F> {
    fn new(width: usize, scores: Scores, options: &Options<'_>) -> Result<Self, Error> {
        let is_short = width <= SHORT && scores == Scores::Logits;
        let numbers = if is_short { width.next_multiple_of(LANES) * LANES } else { 0 };
        Ok(Self {
            buffers: Buffers::new(width)?,
            rows: vec![F::NEGATIVE_INFINITY; numbers],
            columns: vec![F::NEGATIVE_INFINITY; numbers],
            tempered: zeros(if options.temperature == 1.0 { 0 } else { width })?,
            view: zeros(if options.views.is_none() { 0 } else { width })?,
            exponentials: zeros(if options.views.is_none() && options.stars == Stars::default() { 0 } else { width })?,
            slopes: vec![],
        })
    }
}

impl<E: Element> Loss<E> for Ctc<'_, E> {
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

    fn measure(&self, sequence: usize, weight: &mut Exact) -> Measure {
        weight.add(1.0);
        let length = self.targets.of(sequence).len().max(1) as f64;
        Measure { count: 1, length, share: 1.0 / length }
    }

    fn cost(&self, sequence: usize) -> usize {
        let states = 2 * self.targets.of(sequence).len() + 1;
        1 + self.logits.rows[sequence].count() * (self.logits.width + states)
    }

    fn parts(&self) -> usize {
        2
    }

    fn worker(&self) -> Result<Worker<'_, E>, Error> {
        let mut scratch = self.scratch()?;
        Ok(Box::new(move |piece, ticker| self.run(piece, &mut scratch, ticker)))
    }
}

impl<E: Element> Ctc<'_, E> {
    fn scratch(&self) -> Result<Scratch<E::Float>, Error> {
        let width = self.logits.width;
        let side = || Side::new(width, self.scores, &self.options);
        Ok(Scratch {
            sides: [side()?, side()?],
            classes: Classes::new(width)?,
            trellis: Trellis::default(),
            softmax: vec![],
        })
    }

    fn run(&self, piece: &mut Piece<'_, E>, scratch: &mut Scratch<E::Float>, ticker: &Ticker<'_>) -> Result<(), Error> {
        let frames = self.logits.rows[piece.sequence].count();
        let wants_gradient = piece.wants_gradient();
        let mut factor = [0.0];
        let factor = piece.factors(0..1, &mut factor)[0];
        let wants = if wants_gradient { Wants::Classes } else { Wants::Total };
        let (mut loss, is_written) =
            self.sequence(piece.sequence, &mut piece.strip, factor, wants, None, scratch, ticker)?;
        if wants_gradient && !is_written {
            let buffers = &mut scratch.sides[0].buffers;
            for t in 0..frames {
                ticker.tick(self.logits.width)?;
                match loss.is_nan() {
                    true => {
                        let nan = E::Float::from_f64(f64::NAN);
                        piece.strip.read_and_write(t, 0, buffers, |_, out| out.fill(nan));
                    }
                    false => piece.strip.clear(t, 0),
                }
            }
        }
        if self.options.zero_infinity && loss == f64::INFINITY {
            loss = 0.0;
        }
        piece.term(0, loss);
        Ok(())
    }

    /// The loss of one sequence, and whether its posteriors were used: they are where the loss is finite and they are
    /// wanted.
    fn sequence(
        &self,
        sequence: usize,
        strip: &mut Strip<'_, E>,
        factor: f64,
        wants: Wants,
        statistics: Option<&mut [LabelStatistics; 2]>,
        scratch: &mut Scratch<E::Float>,
        ticker: &Ticker<'_>,
    ) -> Result<(f64, bool), Error> {
        let options = &self.options;
        let labels = self.targets.of(sequence);
        let frames = self.logits.rows[sequence].count();
        let Scratch { sides, classes, trellis, softmax } = scratch;
        classes.set(labels, self.blank, options)?;
        if frames == 0 && labels.is_empty() {
            // Nothing was said, and nothing was to be.
            return Ok((0.0, false));
        }
        if !trellis.set(&classes.slots, classes.all.len(), frames, &self.topology(), wants)? {
            return Ok((f64::INFINITY, false));
        }
        resize(softmax, frames, Softmax::default())?;
        let middle = trellis.middle();
        let (before, after) = softmax.split_at_mut(middle);
        let [first, second] = strip.halves(middle);
        let [one, two] = sides;
        let mut statistics = statistics.map_or([None, None], |[one, two]| [Some(one), Some(two)]);
        let [first_statistics, second_statistics] = statistics.each_mut().map(Option::take);
        let half = |strip, start, side, softmax, statistics| Half {
            ctc: self,
            sequence,
            classes,
            strip,
            start,
            side,
            softmax,
            is_known: false,
            factor,
            weight: 1.0,
            posterior_weight: 1.0,
            extra: 0.0,
            statistics,
        };
        let mut halves =
            [half(first, 0, one, before, first_statistics), half(second, middle, two, after, second_statistics)];
        let (log_total, entropy) = match options.entropy_weight {
            0.0 => (trellis.total(&mut halves, ticker)?, 0.0),
            _ => trellis.entropy(&mut halves, ticker)?,
        };
        let mut likelihood_loss = -log_total + 0.0;
        if options.delay_penalty != 0.0 {
            // The states carry exp(−λ Σⱼ tⱼ).
            likelihood_loss -= options.delay_penalty * labels.len() as f64 * (frames as f64 - 1.0) / 2.0;
        }
        // Rounding may leave a certain path a little above 1.
        if self.is_probability() && likelihood_loss < 0.0 {
            likelihood_loss = 0.0;
        }
        let (focal, slope) = focal(likelihood_loss, options.focal);
        let weight = 1.0 - options.label_smoothing;
        let mut loss = weight * focal;
        if options.entropy_weight != 0.0 && likelihood_loss < f64::INFINITY {
            loss -= options.entropy_weight * entropy;
        }
        for half in &halves {
            loss += half.extra;
        }
        if wants == Wants::Total || loss.is_nan() || loss == f64::INFINITY {
            return Ok((loss, false));
        }
        for half in &mut halves {
            half.is_known = true;
            half.weight = weight * slope;
            half.posterior_weight = if options.entropy_weight == 0.0 { half.weight } else { 1.0 };
        }
        match options.entropy_weight {
            0.0 => trellis.posteriors(&mut halves, ticker)?,
            _ => trellis.entropy_posteriors((weight * slope, options.entropy_weight), &mut halves, ticker)?,
        }
        Ok((loss, true))
    }

    /// Statistics of every label of every target under the posterior of its alignment.
    pub fn labels(&self, watch: &Watch<'_>) -> Result<Vec<Vec<LabelStatistic>>, Error> {
        let mut found: Vec<Vec<LabelStatistic>> = vec![];
        resize(&mut found, self.logits.len(), vec![])?;
        for_each_in_parts(
            found.iter_mut().enumerate(),
            self.parts(),
            self.work(),
            watch,
            || self.scratch(),
            |(sequence, found), scratch, ticker| {
                let labels = self.targets.of(sequence).len();
                let mut halves = [LabelStatistics(vec![]), LabelStatistics(vec![])];
                for half in &mut halves {
                    resize(&mut half.0, labels, LabelStatistic::default())?;
                }
                let mut strip = Strip::reading(self.logits.rows[sequence]);
                let (loss, is_known) =
                    self.sequence(sequence, &mut strip, 1.0, Wants::Labels, Some(&mut halves), scratch, ticker)?;
                let [one, two] = halves;
                *found = reserve(labels)?;
                found.extend(one.0.iter().zip(&two.0).map(|(one, two)| one.and(two).finish(is_known, loss)));
                Ok(())
            },
        )?;
        Ok(found)
    }
}

/// (1 − e⁻ˡ)^γ ℓ and its slope.
fn focal(loss: f64, gamma: f64) -> (f64, f64) {
    if gamma == 0.0 || !loss.is_finite() {
        return (loss, 1.0);
    }
    if loss <= 0.0 {
        return (0.0, 0.0);
    }
    let probability = exp(-loss);
    let rest = 1.0 - probability;
    if rest == 0.0 {
        return (0.0, 0.0);
    }
    let modulation = power(rest, gamma);
    (modulation * loss, modulation + gamma * power(rest, gamma - 1.0) * probability * loss)
}

/// xʸ for x in (0, 1].
fn power(x: f64, y: f64) -> f64 {
    exp((y * math::ln(x)).min(MOST_NATS))
}

/// A label under the posterior of its alignment, or sums on the way to it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LabelStatistic {
    /// Σₜ γ: the frames that the label is expected to last.
    pub occupancy: f64,
    /// Σₜ t γ / Σₜ γ
    pub time: f64,
    /// Σₜ p γ / Σₜ γ: the probability of the label where it is expected to be.
    pub confidence: f64,
}

impl LabelStatistic {
    fn and(&self, other: &Self) -> Self {
        Self {
            occupancy: self.occupancy + other.occupancy,
            time: self.time + other.time,
            confidence: self.confidence + other.confidence,
        }
    }

    fn finish(self, is_known: bool, loss: f64) -> Self {
        match is_known {
            true => Self {
                occupancy: self.occupancy,
                time: self.time / self.occupancy,
                confidence: (self.confidence / self.occupancy).min(1.0),
            },
            // Where there is no alignment a label lasts no frame, and is nowhere.
            false => Self {
                occupancy: if loss.is_nan() { f64::NAN } else { 0.0 },
                time: f64::NAN,
                confidence: if loss.is_nan() { f64::NAN } else { 0.0 },
            },
        }
    }
}

/// Sums for every label of a target.
struct LabelStatistics(Vec<LabelStatistic>);

/// The classes that occur in a target, the blank first, and the place among them (the slot) of each label.
struct Classes {
    all: Vec<usize>,
    slots: Vec<u32>,
    /// The slot of each class; 0 for none.
    slot_of: Vec<u32>,
    /// What the probability of each slot is multiplied by, and its logarithm; nothing where there are no priors.
    boosts: Vec<(f64, f64)>,
}

impl Classes {
    fn new(width: usize) -> Result<Self, Error> {
        Ok(Self { all: vec![], slots: vec![], slot_of: zeros(width)?, boosts: vec![] })
    }

    fn set(&mut self, labels: &[usize], blank: usize, options: &Options<'_>) -> Result<(), Error> {
        self.all.clear();
        self.all.push(blank);
        self.slots.clear();
        make_room(&mut self.slots, labels.len())?;
        for &label in labels {
            if self.slot_of[label] == 0 {
                make_room(&mut self.all, 1)?;
                self.slot_of[label] = self.all.len() as u32;
                self.all.push(label);
            }
            self.slots.push(self.slot_of[label]);
        }
        self.all[1..].iter().for_each(|&class| self.slot_of[class] = 0);
        self.boosts.clear();
        if let Some(log_priors) = &options.log_priors {
            make_room(&mut self.boosts, self.all.len())?;
            self.boosts.extend(self.all.iter().map(|&class| {
                let logarithm = -log_priors[class] * options.prior_weight;
                (exp(logarithm), logarithm)
            }));
        }
        Ok(())
    }
}

/// exp of a number of at most [`MOST_NATS`].
fn exp(x: f64) -> f64 {
    let (mantissa, exponent) = scaled::exp(x);
    mantissa * exponent.max(-1074.0).exp2()
}

/// One half of the frames of a sequence.
struct Half<'a, 'b, E: Element> {
    ctc: &'a Ctc<'b, E>,
    sequence: usize,
    classes: &'a Classes,
    strip: Strip<'a, E>,
    /// The first frame of the half.
    start: usize,
    side: &'a mut Side<E::Float>,
    softmax: &'a mut [Softmax<E::Float>],
    /// Whether `softmax` is filled.
    is_known: bool,
    /// The derivative of what is asked for with respect to the loss, ...
    factor: f64,
    /// ... of the loss with respect to −ln of the sum over paths, ...
    weight: f64,
    /// ... and what posteriors are still to be multiplied by.
    posterior_weight: f64,
    /// What is added to the loss frame by frame.
    extra: f64,
    statistics: Option<&'a mut LabelStatistics>,
}

impl<E: Element> Visitor for Half<'_, '_, E> {
    fn read(&mut self, range: Range<usize>, frames: &mut Frames) -> Result<(), Error> {
        let Self { ctc, sequence, classes, strip, start, side, softmax, is_known, extra, .. } = self;
        let Side { buffers, rows: eight, columns, tempered, view, exponentials, .. } = &mut **side;
        frames.is_rough = size_of::<E::Float>() == size_of::<f32>();
        let options = &ctc.options;
        let is_softmax = ctc.scores == Scores::Logits;
        if options.stars != Stars::default() {
            frames.star_weight = exp(-options.star_penalty);
        }
        let softmax = &mut softmax[range.start - *start..range.end - *start];
        if !*is_known && !columns.is_empty() {
            let width = eight.len() / LANES;
            for (row, t) in eight.chunks_exact_mut(width).zip(range.clone()) {
                strip.read(t, *start, buffers, |x| {
                    let x = divided(x, options.temperature, tempered);
                    row[..x.len()].copy_from_slice(x);
                });
            }
            let (shifts, sums) = dispatch!(level(), simd => {
                across::lay_across(simd, eight, width, columns);
                across::softmax_of_columns::<_, _, false>(simd, columns)
            });
            for ((softmax, shift), sum) in softmax.iter_mut().zip(shifts).zip(sums) {
                *softmax = Softmax { shift, normal: 1.0 / sum };
            }
            for (row, &class) in frames.logarithms.chunks_exact_mut(LANES).zip(&classes.all) {
                let scores = &columns[class * LANES..][..LANES];
                for ((logarithm, score), shift) in row.iter_mut().zip(scores).zip(&shifts) {
                    *logarithm = score.to_f64() - shift.to_f64();
                }
            }
        } else {
            for (column, t) in range.clone().enumerate() {
                let softmax = &mut softmax[column];
                strip.read(t, *start, buffers, |x| {
                    let x = divided(x, options.temperature, tempered);
                    if !*is_known {
                        *softmax = match is_softmax {
                            true => dispatch!(level(), simd => {
                                let shift = rows::maximum_in(simd, x);
                                Softmax { shift, normal: 1.0 / rows::exp_sum_in(simd, x, shift) }
                            }),
                            false => Softmax { shift: E::Float::default(), normal: 1.0 },
                        };
                    }
                    let shift = softmax.shift.to_f64();
                    for (row, &class) in frames.logarithms.chunks_exact_mut(LANES).zip(&classes.all) {
                        row[column] = x[class].to_f64() - shift;
                    }
                });
            }
        }
        for (normal, softmax) in frames.normals.iter_mut().zip(&*softmax) {
            *normal = softmax.normal;
        }
        if frames.star_weight > 0.0 {
            for (column, t) in range.clone().enumerate() {
                let Softmax { shift, normal } = softmax[column];
                frames.others[column] = strip.read(t, *start, buffers, |x| {
                    // One less the blank's probability would be nothing where that is nearly 1.
                    exponentials.copy_from_slice(divided(x, options.temperature, tempered));
                    exponentials[ctc.blank] = E::Float::NEGATIVE_INFINITY;
                    rows::exp_sum(exponentials, shift) * normal
                });
            }
        }
        if !*is_known && (options.label_smoothing > 0.0 || options.views.is_some()) {
            for (softmax, t) in softmax.iter().zip(range) {
                strip.read(t, *start, buffers, |x| {
                    let x = divided(x, options.temperature, tempered);
                    if options.label_smoothing > 0.0 {
                        *extra += options.label_smoothing * divergence_of_uniform(x, *softmax);
                    }
                    if let Some(views) = &options.views {
                        let (y, total) =
                            view_of(&views[*sequence], t, is_softmax, options.temperature, view, exponentials);
                        *extra += options.consistency_weight * divergence(y, exponentials, total, x, *softmax);
                    }
                });
            }
        }
        for (row, boost) in frames.logarithms.chunks_exact_mut(LANES).zip(&classes.boosts) {
            for logarithm in row {
                *logarithm += boost.1;
            }
        }
        Ok(())
    }

    fn write(&mut self, range: Range<usize>, frames: &Frames, posteriors: &Meeting) -> Result<(), Error> {
        if let Some(statistics) = &mut self.statistics {
            statistics.add(range, frames, posteriors, self.classes);
            return Ok(());
        }
        let Self { ctc, sequence, classes, strip, start, side, softmax, factor, .. } = self;
        let Side { buffers, tempered, view, exponentials, slopes, .. } = &mut **side;
        resize(slopes, classes.all.len() * LANES, 0.0)?;
        let options = &ctc.options;
        let is_softmax = ctc.scores == Scores::Logits;
        let factor = *factor / options.temperature;
        let factor_of_posterior = if options.posterior { 1.0 } else { -factor * self.posterior_weight };
        // A star's posterior is the blank's but for what other classes have of it.
        let (mut stars, mut shares, mut rests) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        if frames.star_weight > 0.0 && !options.posterior {
            for column in 0..range.len() {
                stars[column] = self.posterior_weight * posteriors.stars()[column];
                let boost = classes.boosts.first().map_or(1.0, |boost| boost.0);
                shares[column] = (1.0 - frames.star_weight / boost) * frames.row(0)[column] / frames.stars[column];
                // One less the share, which may be nearly 1.
                rests[column] = frames.star_weight / frames.stars[column];
            }
        }
        let (mut of_probability, mut of_blank) = ([0.0; LANES], [0.0; LANES]);
        if is_softmax && !options.posterior {
            let consistency_weight = if options.views.is_some() { options.consistency_weight } else { 0.0 };
            let others = options.label_smoothing + consistency_weight;
            for column in 0..LANES {
                of_probability[column] = factor * (self.weight - rests[column] * stars[column] + others);
                of_blank[column] = factor * (self.weight - stars[column] + others);
            }
        }
        // The classes that occur are the small difference of two numbers: it is taken in float64.
        for slot in 0..classes.all.len() {
            let over_boost = classes.boosts.get(slot).map_or(1.0, |boost| 1.0 / boost.0);
            let (probabilities, posteriors) = (frames.row(slot), posteriors.row(slot));
            let of_probability = if slot == 0 { &of_blank } else { &of_probability };
            for (column, slope) in slopes[slot * LANES..][..LANES].iter_mut().enumerate() {
                *slope = factor_of_posterior * posteriors[column];
                // Scores that are no logits may be beyond float64.
                if of_probability[column] != 0.0 {
                    *slope += of_probability[column] * (probabilities[column] * over_boost);
                }
            }
        }
        if frames.star_weight > 0.0 && !options.posterior {
            // The share of the blank times 1 − q: as such, and not as the small difference of two that may be large.
            for (column, slope) in slopes[..LANES].iter_mut().enumerate() {
                *slope -= factor * stars[column] * frames.others[column] * shares[column];
            }
        }
        for (column, t) in range.enumerate() {
            let Softmax { shift, normal } = softmax[t - *start];
            let of_probability = of_probability[column];
            strip.read_and_write(t, *start, buffers, |x, out| {
                let x = divided(x, options.temperature, tempered);
                if of_probability == 0.0 {
                    out.fill(E::Float::default());
                } else {
                    let scale = E::Float::from_f64(of_probability * normal);
                    dispatch!(level(), simd => rows::exp_scaled_in(simd, x, shift, scale, out));
                }
                for (row, &class) in slopes.chunks_exact(LANES).zip(&classes.all) {
                    out[class] = E::Float::from_f64(row[column]);
                }
                if options.posterior {
                    return;
                }
                if options.label_smoothing > 0.0 {
                    let part = E::Float::from_f64(factor * options.label_smoothing / x.len() as f64);
                    for slope in &mut *out {
                        *slope -= part;
                    }
                }
                if let Some(views) = &options.views {
                    let (_, total) = view_of(&views[*sequence], t, is_softmax, options.temperature, view, exponentials);
                    let scale = E::Float::from_f64(factor * options.consistency_weight / total);
                    out.iter_mut().zip(&*exponentials).for_each(|(slope, &e)| *slope -= scale * e);
                }
            });
        }
        Ok(())
    }
}

impl LabelStatistics {
    fn add(&mut self, range: Range<usize>, frames: &Frames, posteriors: &Meeting, classes: &Classes) {
        for (label, (sums, &slot)) in self.0.iter_mut().zip(&classes.slots).enumerate() {
            let boost = classes.boosts.get(slot as usize).map_or(1.0, |boost| boost.0);
            let rows = posteriors.label(label).iter().zip(frames.row(slot as usize));
            for ((posterior, probability), t) in rows.zip(range.clone()) {
                sums.occupancy += posterior;
                sums.time += posterior * t as f64;
                sums.confidence += posterior * (probability / boost);
            }
        }
    }
}

/// x / τ, in `scratch` where τ is not 1.
fn divided<'a, F: Float>(x: &'a [F], temperature: f64, scratch: &'a mut [F]) -> &'a [F] {
    if temperature == 1.0 {
        return x;
    }
    let factor = F::from_f64(1.0 / temperature);
    scratch.iter_mut().zip(x).for_each(|(divided, &x)| *divided = x * factor);
    scratch
}

/// KL(u ‖ p) = ln Σ exp(x − max) − Σ (x − max) / C − ln C
fn divergence_of_uniform<F: Float>(x: &[F], softmax: Softmax<F>) -> f64 {
    let classes = x.len() as f64;
    let mean = x.iter().map(|x| x.to_f64() - softmax.shift.to_f64()).sum::<f64>() / classes;
    not_negative(-math::ln(softmax.normal) - mean - math::ln(classes))
}

/// A divergence of distributions is not negative but for rounding; scores that are not normalised are none.
fn not_negative(divergence: f64) -> f64 {
    if divergence < 0.0 && divergence > -1e-6 { 0.0 } else { divergence }
}

/// The logits of another view less the largest (or its log-probabilities), their exponentials, and the sum of these (1).
fn view_of<'a, F: Float>(
    views: &AnyRows<'_>,
    t: usize,
    is_softmax: bool,
    temperature: f64,
    view: &'a mut [F],
    exponentials: &mut [F],
) -> (&'a [F], f64) {
    let width = exponentials.len();
    // The row may lie where it is; it is copied in any case, because it is changed.
    let row = views.row(t, exponentials);
    view[..width].copy_from_slice(row);
    if temperature != 1.0 {
        rows::scale(view, F::from_f64(1.0 / temperature));
    }
    let shift = if is_softmax { rows::maximum(view) } else { F::default() };
    let total = rows::exp_sum_into(view, shift, exponentials);
    for y in &mut *view {
        *y -= shift;
    }
    (view, if is_softmax { total } else { 1.0 })
}

/// KL(p′ ‖ p) = Σ p′ (ln p′ − ln p)
fn divergence<F: Float>(y: &[F], exponentials: &[F], total: f64, x: &[F], softmax: Softmax<F>) -> f64 {
    let shift = softmax.shift.to_f64();
    let difference: f64 = y
        .iter()
        .zip(exponentials)
        .zip(x)
        .filter(|((_, e), _)| e.to_f64() != 0.0)
        .map(|((y, e), x)| e.to_f64() * (y.to_f64() - (x.to_f64() - shift)))
        .sum();
    not_negative(difference / total - math::ln(total) - math::ln(softmax.normal))
}
