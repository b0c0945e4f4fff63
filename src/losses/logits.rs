//! Rows of logits, read once for the softmax and swept once more for the gradient: what cross-entropy and policy gradients
//! share.
//!
//! p = softmax(x̂)        x̂ = cap · tanh(x / cap) / τ, or x / τ without a cap
//!
//! A loss ℓ of a row that is a function of ln Σⱼ exp(x̂ⱼ), of single x̂ and of the entropy of p has the gradient
//!
//! ∂ℓ/∂x̂ⱼ = (a + b (x̂ⱼ − m)) pⱼ − cⱼ        ∂ℓ/∂xⱼ = ∂ℓ/∂x̂ⱼ (1 − (τ x̂ⱼ / cap)²) / τ
//!
//! with m the largest x̂.

use std::ops::Range;

use fearless_simd::dispatch;

use crate::error::Error;
use crate::float::{Element, Float};
use crate::input::zeros;
use crate::loss::{Buffers, Piece, Strip};
use crate::parallel::Ticker;
use crate::simd::across::{self, ROWS};
use crate::simd::softmax::{self, Ahead, BLOCK, Powers, SEGMENT, Softmax};
use crate::simd::{Stored, level, math, rows};

/// What is done to logits before their softmax.
#[derive(Debug, Clone, Copy)]
pub struct Transform {
    temperature: f64,
    softcap: Option<f64>,
}

impl Transform {
    /// Nothing.
    pub const NONE: Self = Self { temperature: 1.0, softcap: None };

    /// Checks that both are positive, and normal numbers of the type that the logits are computed with.
    pub fn new(temperature: f64, softcap: Option<f64>, is_double: bool) -> Result<Self, Error> {
        let (is_normal, kind): (fn(f64) -> bool, _) = match is_double {
            true => (f64::is_normal, "float64"),
            false => (|value| (value as f32).is_normal(), "float32"),
        };
        let of = |name: &str, value: f64| match value > 0.0 && value.is_finite() {
            true if is_normal(value) => Ok(()),
            true => Err(Error::Value(format!("{name} is {value:e}, expected a normal number of {kind}"))),
            false => Err(Error::Value(format!("{name} is {value}, expected a positive number"))),
        };
        of("temperature", temperature)?;
        softcap.map_or(Ok(()), |cap| of("softcap", cap))?;
        Ok(Self { temperature, softcap })
    }

    /// Whether logits stay as they are.
    pub fn is_none(&self) -> bool {
        self.temperature == 1.0 && self.softcap.is_none()
    }

    /// The name of what is done.
    pub(super) fn name(&self) -> &'static str {
        if self.softcap.is_some() { "softcap" } else { "temperature" }
    }

    /// x̂, in `scratch` where it is not x.
    fn row<'a, F: Float>(&self, row: &'a [F], scratch: &'a mut [F]) -> &'a [F] {
        if self.is_none() {
            return row;
        }
        self.apply(row, scratch);
        scratch
    }

    fn apply<F: Float>(&self, row: &[F], out: &mut [F]) {
        out.copy_from_slice(row);
        if let Some(cap) = self.softcap {
            dispatch!(level(), simd => rows::soft_cap_in(simd, out, cap));
        }
        dispatch!(level(), simd => rows::divide_in(simd, out, F::from_f64(self.temperature)));
    }

    /// Multiplies by ∂x̂ⱼ/∂xⱼ = (1 − (τ x̂ⱼ / cap)²) / τ.
    fn pull_back<F: Float>(&self, transformed: &[F], slopes: &mut [F]) {
        if let Some(cap) = self.softcap {
            dispatch!(level(), simd => rows::soft_cap_slopes_in(simd, transformed, cap / self.temperature, slopes));
        }
        dispatch!(level(), simd => rows::divide_in(simd, slopes, F::from_f64(self.temperature)));
    }
}

/// ∂ℓ/∂x̂ⱼ = (probability + distance (x̂ⱼ − m)) pⱼ − spread − qⱼ − own [j = class], q where there is one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slopes {
    pub(super) probability: f64,
    pub(super) distance: f64,
    pub(super) spread: f64,
    pub(super) own: f64,
}

/// A row that has been read.
pub(super) struct Reading<'a, E: Element> {
    pub(super) softmax: Softmax,
    /// x̂
    pub(super) row: Numbers<'a, E>,
}

/// The numbers of a row.
#[derive(Clone, Copy)]
pub(super) enum Numbers<'a, E: Element> {
    /// As they are stored.
    Stored(&'a [E]),
    /// As they are computed with.
    Wide(&'a [E::Float]),
}

impl<'a, E: Element> Numbers<'a, E> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Stored(row) => row.len(),
            Self::Wide(row) => row.len(),
        }
    }

    /// Number `index`.
    #[inline]
    pub(super) fn at(&self, index: usize) -> f64 {
        match self {
            Self::Stored(row) => row[index].exact(),
            Self::Wide(row) => row[index].exact(),
        }
    }

    /// All of them, where they are asked for: see [`Step::needs_row`].
    pub(super) fn wide(&self) -> &'a [E::Float] {
        match self {
            Self::Stored(_) => unreachable!("numbers are widened where a step asks for them"),
            Self::Wide(row) => row,
        }
    }
}

impl<E: Element> Reading<'_, E> {
    /// −ln p of a class. The maximum is subtracted first, so that a sure class keeps its digits.
    pub(super) fn surprise(&self, class: usize) -> f64 {
        (self.softmax.maximum - self.row.at(class)) + math::ln(self.softmax.sum)
    }

    /// Σ x̂ over the classes above −∞, and how many they are.
    pub(super) fn total(&self) -> (f64, f64) {
        match self.row {
            Numbers::Stored(row) => rows::finite_total(row),
            Numbers::Wide(row) => rows::finite_total(row),
        }
    }

    /// 1 − p of a class: of a sure one, what the others leave.
    pub(super) fn rest(&self, class: usize) -> f64 {
        let distance = self.row.at(class) - self.softmax.maximum;
        (self.softmax.sum - softmax::exp_of(distance)) / self.softmax.sum
    }
}

/// What has no weight costs nothing, also where it is impossible; NaN stays.
pub(super) fn times(weight: f64, loss: f64) -> f64 {
    if weight == 0.0 && loss == f64::INFINITY { 0.0 } else { weight * loss }
}

/// What a thread keeps to read rows.
pub struct LogitRows<F> {
    buffers: Buffers<F>,
    block: Vec<F>,
    shifts: Vec<f64>,
    /// Those of the segments of a row, where several threads read it.
    segments: Vec<Softmax>,
    /// x̂, where it differs from x.
    transformed: Vec<F>,
    transform: Transform,
    /// A step whose row has been looked at already, and the maximum of its first block.
    ahead: Option<(usize, F)>,
}

/// The classes of steps that follow one another, and what −ln p of each is multiplied by.
#[derive(Default)]
struct Run {
    classes: [usize; ROWS],
    q: [f64; ROWS],
    count: usize,
}

impl Run {
    /// The steps from `first` on, as long as they are valid.
    fn new(first: usize, end: usize, each: impl Fn(usize) -> Option<(usize, f64)>) -> Self {
        let mut run = Self::default();
        for (step, (class, q)) in (first..end).zip(run.classes.iter_mut().zip(&mut run.q)) {
            let Some(found) = each(step) else { break };
            (*class, *q) = found;
            run.count += 1;
        }
        run
    }
}

/// A step to be read.
#[derive(Clone, Copy)]
pub(super) struct Step<'q, F> {
    pub(super) index: usize,
    /// The one that will be read next, if it is known.
    pub(super) next: Option<usize>,
    /// What its gradient is multiplied by.
    pub(super) factor: f64,
    /// The class of [`Slopes::own`].
    pub(super) class: Option<usize>,
    /// q of the gradient.
    pub(super) q: Option<&'q [F]>,
    /// Whether the entropy is asked for.
    pub(super) wants_moment: bool,
}

impl<F> Step<'_, F> {
    /// Whether numbers of 16 bits are widened before they are read: where they are few, and where what they are compared
    /// with, or what is written for them, depends on all of them.
    fn needs_row(&self, width: usize, transform: &Transform) -> bool
    where
        F: Float,
    {
        across::is_short::<F>(width) || self.q.is_some() || self.wants_moment || !transform.is_none()
    }
}

impl<F: Float> LogitRows<F> {
    /// For rows of this width.
    pub(super) fn new(width: usize, transform: Transform) -> Result<Self, Error> {
        let (at_once, block) = match across::is_short::<F>(width) {
            true => (ROWS, across::scratch_length(width)),
            false => (1, BLOCK.min(width)),
        };
        Ok(Self {
            buffers: Buffers::new(width * at_once)?,
            block: zeros(block)?,
            shifts: zeros(width.div_ceil(BLOCK))?,
            segments: vec![Softmax::EMPTY; if width > SEGMENT { width.div_ceil(SEGMENT) } else { 0 }],
            transformed: zeros(if transform.is_none() { 0 } else { width })?,
            transform,
            ahead: None,
        })
    }

    /// Buffers for rows that are read in another way.
    pub(super) fn buffers(&mut self) -> &mut Buffers<F> {
        &mut self.buffers
    }

    /// Looks at the row of a step, as it is after the transformation, before it is read.
    pub(super) fn look<E: Element<Float = F>>(&mut self, piece: &Piece<'_, E>, step: usize, body: impl FnOnce(&[F])) {
        let Self { buffers, transformed, transform, .. } = self;
        piece.strip.read(step, piece.terms.start, buffers, |x| {
            body(transform.row(x, transformed));
        });
    }

    /// Hands over −q ln p of a class for every step of a piece: `each` gives class and q of a step, or nothing where it is
    /// not valid. Short rows are read several at once.
    pub(super) fn classes<E: Element<Float = F>>(
        &mut self,
        piece: &mut Piece<'_, E>,
        ticker: &Ticker<'_>,
        each: impl Fn(usize) -> Option<(usize, f64)>,
    ) -> Result<(), Error> {
        let (first, end, width) = (piece.terms.start, piece.terms.end, piece.strip.rows().width());
        let at_once = if across::is_short::<F>(width) && self.transform.is_none() { ROWS } else { 1 };
        let mut step = first;
        while step < end {
            let run = Run::new(step, end.min(step + at_once), &each);
            ticker.tick((1 + run.count) * width.max(1))?;
            if run.count == 0 {
                piece.strip.clear(step, first);
                piece.term(step - first, 0.0);
                step += 1;
            } else if at_once > 1 {
                let surprises = self.short_steps(piece, step..step + run.count, &run);
                for (&q, surprise) in run.q[..run.count].iter().zip(surprises) {
                    piece.term(step - first, times(q, surprise));
                    step += 1;
                }
            } else {
                let (class, q) = (run.classes[0], run.q[0]);
                let next = (step + 1 < end && each(step + 1).is_some()).then_some(step + 1);
                let factor = piece.factors(step - first..step - first + 1, &mut [0.0])[0];
                let at = Step { index: step, next, factor, class: Some(class), q: None, wants_moment: false };
                let value = self.step(piece, at, ticker, |reading| {
                    let slopes = Slopes { probability: q, own: q, ..Slopes::default() };
                    (times(q, reading.surprise(class)), slopes)
                })?;
                piece.term(step - first, value);
                step += 1;
            }
        }
        Ok(())
    }

    /// −ln p of the classes of up to [`ROWS`] steps that follow one another; each gradient is that of −q ln p.
    fn short_steps<E: Element<Float = F>>(
        &mut self,
        piece: &mut Piece<'_, E>,
        steps: Range<usize>,
        run: &Run,
    ) -> [f64; ROWS] {
        let Self { buffers, block, .. } = self;
        let width = piece.strip.rows().width();
        let numbers = steps.start * width..steps.end * width;
        let (first, classes) = (piece.terms.start * width, &run.classes[..steps.len()]);
        if !piece.wants_gradient() {
            let read = |x: &[F]| across::surprises(x, width, classes, block);
            return piece.strip.read_block(numbers, first, buffers, read);
        }
        let mut rates = [0.0; ROWS];
        let rates = piece.factors(steps.start - piece.terms.start..steps.end - piece.terms.start, &mut rates);
        let mut all = [0.0; ROWS];
        for ((rate, q), factor) in all.iter_mut().zip(&run.q).zip(rates) {
            *rate = q * factor;
        }
        let mut surprises = [0.0; ROWS];
        piece.strip.read_and_write_block(numbers, first, buffers, |x, out| {
            surprises = across::surprises_into(x, width, classes, &all[..classes.len()], block, out);
        });
        surprises
    }

    /// Reads a step of a strip for its values alone. `is_first` says that nothing was read before it.
    #[inline]
    pub(super) fn read<E: Element<Float = F>, R>(
        &mut self,
        strip: &Strip<'_, E>,
        at: Step<'_, F>,
        first: usize,
        ticker: &Ticker<'_>,
        body: impl FnOnce(&Reading<'_, E>) -> R,
    ) -> Result<R, Error> {
        let seen = self.seen(at.index, first);
        let Self { buffers, block, segments, transformed, transform, ahead, .. } = self;
        let powers = Powers::Passing(block);
        let (result, maximum);
        if E::DIRECT || at.needs_row(strip.rows().width(), transform) {
            let next = at.next.filter(|_| E::DIRECT && transform.is_none()).map_or(&[][..], |next| strip.ahead(next));
            let mut looking = Ahead { maximum: seen, next: E::view(next, &mut []) };
            result = strip.read(at.index, first, buffers, |x| {
                let row = transform.row(x, transformed);
                let softmax = softmax_of(row, &mut looking, at.wants_moment, powers, segments, ticker)?;
                Ok(body(&Reading { softmax, row: Numbers::Wide(row) }))
            });
            maximum = looking.maximum;
        } else {
            let row = strip.stored(at.index, first);
            let mut looking = Ahead { maximum: seen, next: at.next.map_or(&[], |next| strip.ahead(next)) };
            let softmax = softmax_of(row, &mut looking, at.wants_moment, powers, segments, ticker)?;
            result = Ok(body(&Reading { softmax, row: Numbers::Stored(row) }));
            maximum = looking.maximum;
        }
        *ahead = at.next.zip(maximum);
        result
    }

    /// Reads a step; `body` gets what was read and says the value and the slopes. Returns the value.
    #[inline]
    pub(super) fn step<E: Element<Float = F>>(
        &mut self,
        piece: &mut Piece<'_, E>,
        at: Step<'_, F>,
        ticker: &Ticker<'_>,
        body: impl FnOnce(&Reading<'_, E>) -> (f64, Slopes),
    ) -> Result<f64, Error> {
        let first = piece.terms.start;
        if !piece.wants_gradient() {
            return self.read(&piece.strip, at, first, ticker, |reading| body(reading).0);
        }
        let seen = self.seen(at.index, first);
        let Self { buffers, shifts, segments, transformed, transform, ahead, .. } = self;
        let strip = &mut piece.strip;
        let next = at.next.filter(|_| transform.is_none()).map_or(&[][..], |next| strip.ahead(next));
        let (value, maximum);
        if strip.is_direct() || at.needs_row(strip.rows().width(), transform) {
            let next = if E::DIRECT { E::view(next, &mut []) } else { &[] };
            let mut looking = Ahead { maximum: seen, next };
            let mut found = Ok(0.0);
            strip.read_and_write(at.index, first, buffers, |x, out| {
                let row = transform.row(x, transformed);
                let powers = Powers::Kept(out, shifts);
                let softmax = softmax_of(row, &mut looking, at.wants_moment, powers, segments, ticker);
                found = softmax.and_then(|softmax| {
                    let reading = Reading { softmax, row: Numbers::Wide(row) };
                    let (value, slopes) = body(&reading);
                    let own = own_slope(&reading, &slopes, &at);
                    finish(&reading, &slopes, &at, shifts, out, ticker)?;
                    if let Some((class, own)) = own {
                        out[class] = own;
                    }
                    if !transform.is_none() {
                        transform.pull_back(row, out);
                    }
                    Ok(value)
                });
            });
            (value, maximum) = (found, looking.maximum);
        } else {
            let mut looking = Ahead { maximum: seen, next };
            let looked = &mut looking;
            let read = move |row: &[E], powers: &mut [F]| {
                let powers = Powers::Kept(powers, &mut *shifts);
                let softmax = softmax_of(row, looked, false, powers, segments, ticker)?;
                let reading = Reading { softmax, row: Numbers::Stored(row) };
                let (value, slopes) = body(&reading);
                let rates = Rates::new(&softmax, &slopes, at.factor);
                Ok((value, rates, own_slope(&reading, &slopes, &at), shifts))
            };
            value = strip.read_then_write(at.index, first, buffers, read, |found, powers, out| {
                let (value, rates, own, shifts) = found?;
                store(&rates, own, shifts, powers, out, ticker)?;
                Ok(value)
            });
            maximum = looking.maximum;
        }
        *ahead = at.next.zip(maximum);
        value
    }

    /// The maximum of the first block of a step's row, if it was looked at with the row before, in the same piece.
    fn seen(&self, step: usize, first: usize) -> Option<F> {
        self.ahead.filter(|(seen, _)| *seen == step && step != first).map(|(_, maximum)| maximum)
    }
}

/// The softmax of a row, its segments read by the threads that have nothing to do.
fn softmax_of<E: Stored>(
    row: &[E],
    ahead: &mut Ahead<'_, E>,
    wants_moment: bool,
    powers: Powers<'_, E::Wide>,
    segments: &mut [Softmax],
    ticker: &Ticker<'_>,
) -> Result<Softmax, Error> {
    if row.len() <= SEGMENT || !ticker.has_help() {
        return Ok(softmax::softmax(row, ahead, wants_moment, powers));
    }
    let parts = row.chunks(SEGMENT).zip(&mut *segments);
    match powers {
        Powers::Passing(_) => ticker.share(parts, |(part, segment), ticker| {
            ticker.tick(part.len())?;
            let powers = &mut [E::Wide::default(); BLOCK];
            *segment = softmax::segments(part, &mut { Ahead::NOTHING }, wants_moment, Powers::Passing(powers));
            Ok(())
        }),
        Powers::Kept(powers, shifts) => {
            let written = powers.chunks_mut(SEGMENT).zip(shifts.chunks_mut(SEGMENT / BLOCK));
            ticker.share(parts.zip(written), |((part, segment), (powers, shifts)), ticker| {
                ticker.tick(part.len())?;
                let powers = Powers::Kept(powers, shifts);
                *segment = softmax::segments(part, &mut { Ahead::NOTHING }, wants_moment, powers);
                Ok(())
            })
        }
    }?;
    Ok(softmax::merged(segments))
}

/// What exponentials are multiplied by, and what is taken off, where no distance plays a part.
struct Rates {
    maximum: f64,
    rate: f64,
    less: f64,
}

impl Rates {
    fn new(softmax: &Softmax, slopes: &Slopes, factor: f64) -> Self {
        let Softmax { maximum, sum, .. } = *softmax;
        Self { maximum, rate: factor * slopes.probability / sum, less: factor * slopes.spread }
    }
}

/// Makes slopes of exponentials, all but that of the class.
fn finish<E: Element>(
    reading: &Reading<'_, E>,
    slopes: &Slopes,
    at: &Step<'_, E::Float>,
    shifts: &[f64],
    out: &mut [E::Float],
    ticker: &Ticker<'_>,
) -> Result<(), Error> {
    let Rates { maximum, rate, less } = Rates::new(&reading.softmax, slopes, at.factor);
    let distance = at.factor * slopes.distance / reading.softmax.sum;
    let finish = |row: &[E::Float], out: &mut [E::Float], shifts: &[f64]| match slopes.distance == 0.0 {
        true => softmax::finish(out, shifts, maximum, rate, less),
        false => softmax::finish_with_distance(row, out, shifts, maximum, rate, distance),
    };
    let row = reading.row.wide();
    if out.len() > SEGMENT && ticker.has_help() {
        let parts = row.chunks(SEGMENT).zip(out.chunks_mut(SEGMENT)).zip(shifts.chunks(SEGMENT / BLOCK));
        ticker.share(parts, |((row, out), shifts), _| (finish(row, out, shifts), Ok(())).1)?;
    } else {
        finish(row, out, shifts);
    }
    if let Some(q) = at.q {
        dispatch!(level(), simd => rows::subtract_scaled_in(simd, out, q, Float::from_f64(at.factor)));
    }
    Ok(())
}

/// Makes slopes of exponentials on their way to where they are stored.
fn store<E: Element>(
    &Rates { maximum, rate, less }: &Rates,
    own: Option<(usize, E::Float)>,
    shifts: &[f64],
    powers: &[E::Float],
    out: &mut [E],
    ticker: &Ticker<'_>,
) -> Result<(), Error> {
    if out.len() > SEGMENT && ticker.has_help() {
        let parts = powers.chunks(SEGMENT).zip(shifts.chunks(SEGMENT / BLOCK)).zip(out.chunks_mut(SEGMENT));
        ticker.share(parts, |((powers, shifts), out), _| {
            softmax::finish_into(powers, shifts, out, maximum, rate, less);
            Ok(())
        })?;
    } else {
        softmax::finish_into(powers, shifts, out, maximum, rate, less);
    }
    if let Some((class, own)) = own {
        E::put(&mut out[class..=class], &[own]);
    }
    Ok(())
}

/// The slope of the class itself, p − 1, is the small difference of two numbers near 1: it is taken before anything is
/// rounded.
fn own_slope<E: Element>(
    reading: &Reading<'_, E>,
    slopes: &Slopes,
    at: &Step<'_, E::Float>,
) -> Option<(usize, E::Float)> {
    let class = at.class?;
    let Softmax { maximum, sum, .. } = reading.softmax;
    let q = at.q.map_or(0.0, |q| q[class].exact());
    let rest = reading.rest(class);
    let mut own = -slopes.probability * rest + (slopes.probability - slopes.own - slopes.spread - q);
    if slopes.distance != 0.0 {
        let distance = (reading.row.at(class) - maximum).max(f64::MIN);
        own += slopes.distance * (distance * softmax::exp_of(distance)) / sum;
    }
    Some((class, Float::from_f64(at.factor * own)))
}

/// How many threads can work on a row of this width.
pub(super) fn parts(width: usize) -> usize {
    width.div_ceil(SEGMENT).max(1)
}
