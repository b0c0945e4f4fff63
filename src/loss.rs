//! What a loss is, and how it is evaluated.
//!
//! A loss is a list of terms that do not depend on one another, grouped into sequences. A term reads its part of the
//! first argument and writes its own part of the gradient, so terms can be computed in any order and on any thread. They
//! are computed in *pieces*, runs of terms of one sequence, whose size does not depend on the batch or on the number of
//! threads, and what they add up to is an exact sum, which has no order. That is why results have the same bits however
//! they are split.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::exact::Exact;
use crate::float::{Element, Float};
use crate::input::{AnyRows, Rows, Sequences, reserve, zeros};
use crate::parallel::{Ticker, Watch, for_each_in_parts};
use crate::reduction::{Measure, Measures, Reduced, Reducer, Reduction};

/// A loss with its checked inputs. What surrounds it knows it as `dyn Loss<E>`, and so is compiled once for each type of
/// element and not once for each loss.
pub trait Loss<E: Element>: Sync {
    /// The first argument.
    fn sequences(&self) -> &Sequences<'_, E>;
    /// The valid terms of a sequence.
    fn terms(&self, sequence: usize) -> usize;
    /// How many terms a piece has at most.
    fn grain(&self) -> usize;
    /// How many numbers of the gradient belong to a term of a sequence.
    fn stretch(&self, sequence: usize) -> usize;
    /// What a sequence counts for in a mean; the weights of its valid terms are added to `weight`.
    fn measure(&self, sequence: usize, weight: &mut Exact) -> Measure;
    /// About how much work a sequence is, in numbers read.
    fn cost(&self, sequence: usize) -> usize;
    /// The same for all sequences together.
    fn work(&self) -> usize {
        (0..self.sequences().len()).map(|sequence| self.cost(sequence)).sum()
    }
    /// How many threads can work on one piece. Where there are several, the longest sequences begin.
    fn parts(&self) -> usize {
        1
    }
    /// What a thread computes pieces with; what it needs besides is kept between them.
    fn worker(&self) -> Result<Worker<'_, E>, Error>;
}

/// Computes the terms of a piece and hands each to [`Piece::term`], or sums of blocks of them to [`Piece::add`].
pub type Worker<'a, E> = Box<dyn FnMut(&mut Piece<'_, E>, &Ticker<'_>) -> Result<(), Error> + 'a>;

/// A run of terms of one sequence.
pub struct Piece<'a, E: Element> {
    /// Which sequence.
    pub sequence: usize,
    /// Which of its terms.
    pub terms: Range<usize>,
    /// Where each term is written, if terms are asked for.
    pub values: Option<&'a mut [E::Float]>,
    /// What is read of the first argument, and where the gradient is written.
    pub strip: Strip<'a, E>,
    /// Where terms are added up, if their sum is asked for...
    sum: Option<&'a mut Exact>,
    /// ... each times this.
    share: f64,
    /// The derivative of what is asked for with respect to the terms...
    factor: f64,
    /// ... and one for each, if they differ.
    upstream: Option<AnyRows<'a>>,
}

impl<E: Element> Piece<'_, E> {
    /// Whether the gradient is asked for.
    pub fn wants_gradient(&self) -> bool {
        !matches!(self.strip.gradient, Gradient::None)
    }

    /// Takes a term of the piece; `local` counts from its first one.
    #[inline]
    pub fn term(&mut self, local: usize, value: f64) {
        match &mut self.values {
            Some(values) => values[local] = Float::from_f64(value),
            None => self.add(value),
        }
    }

    /// Takes a sum of terms, where terms are not asked for.
    #[inline]
    pub fn add(&mut self, value: f64) {
        if let Some(sum) = &mut self.sum {
            sum.add(value * self.share);
        }
    }

    /// The derivative of what is asked for with respect to each term, if it is the same for all.
    pub fn factor(&self) -> Option<f64> {
        self.upstream.is_none().then_some(self.factor)
    }

    /// The derivative of what is asked for with respect to each term of a part of the piece (`range` counts from its
    /// first term).
    pub fn factors<'s>(&self, range: Range<usize>, scratch: &'s mut [f64]) -> &'s [f64] {
        let scratch = &mut scratch[..range.len()];
        scratch.fill(self.factor);
        if let Some(upstream) = &self.upstream {
            let mut buffer = [0.0; 64];
            for (i, chunk) in scratch.chunks_mut(64).enumerate() {
                let first = self.terms.start + range.start + 64 * i;
                let upstream = upstream.block(first..first + chunk.len(), &mut buffer);
                for (factor, upstream) in chunk.iter_mut().zip(upstream) {
                    *factor *= upstream;
                }
            }
        }
        scratch
    }
}

/// The rows that a piece reads, and the part of the gradient that it writes; both may be the same memory.
pub struct Strip<'a, E> {
    rows: Rows<'a, E>,
    in_place: bool,
    gradient: Gradient<'a, E>,
}

enum Gradient<'a, E> {
    None,
    /// The stretches of all terms of the piece, one after another.
    Contiguous(&'a mut [E]),
    /// Row by row.
    Rows(Vec<&'a mut [E]>),
}

/// Where a [`Strip`] puts rows that cannot be used where they lie. One for each thread.
pub struct Buffers<F> {
    input: Vec<F>,
    gradient: Vec<F>,
}

impl<F: bytemuck::Zeroable> Buffers<F> {
    /// Buffers for rows, or blocks, of at most `width` numbers.
    pub fn new(width: usize) -> Result<Self, Error> {
        Ok(Self { input: zeros(width)?, gradient: zeros(width)? })
    }
}

impl<'a, E: Element> Strip<'a, E> {
    /// Rows that are read, with no gradient.
    pub fn reading(rows: Rows<'a, E>) -> Self {
        Self { rows, in_place: false, gradient: Gradient::None }
    }

    /// The geometry of the rows of the whole sequence.
    pub fn rows(&self) -> Rows<'_, E> {
        self.rows
    }

    /// Row `row` of the sequence as it is stored; `first` is the first row of the piece.
    pub fn stored(&self, row: usize, first: usize) -> &[E] {
        match (&self.gradient, self.in_place) {
            (Gradient::Contiguous(all), true) => &all[(row - first) * self.rows.width()..][..self.rows.width()],
            (Gradient::Rows(rows), true) => &*rows[row - first],
            _ => self.rows.row(row),
        }
    }

    /// Reads row `row` of the sequence; `first` is the first row of the piece.
    pub fn read<R>(
        &self,
        row: usize,
        first: usize,
        buffers: &mut Buffers<E::Float>,
        body: impl FnOnce(&[E::Float]) -> R,
    ) -> R {
        body(E::view(self.stored(row, first), &mut buffers.input))
    }

    /// A row that will be read, if it is still there when it is.
    pub fn ahead(&self, row: usize) -> &'a [E] {
        if self.in_place { &[] } else { self.rows.row(row) }
    }

    /// Whether rows are read and written where they lie.
    pub fn is_direct(&self) -> bool {
        E::DIRECT && !self.in_place
    }

    /// Reads row `row` and lets `body` write the gradient of that row.
    pub fn read_and_write(
        &mut self,
        row: usize,
        first: usize,
        buffers: &mut Buffers<E::Float>,
        body: impl FnOnce(&[E::Float], &mut [E::Float]),
    ) {
        let Buffers { input, gradient } = buffers;
        let (rows, in_place) = (self.rows, self.in_place);
        let out = self.written(row, first);
        let input = if in_place { copied(out, input) } else { E::view(rows.row(row), input) };
        E::fill(out, gradient, |out| body(input, out));
    }

    /// Lets `read` look at row `row` as it is stored, and then `write` replace it or write its gradient. What passes from
    /// the one to the other is a row of numbers that are computed with, and what `read` returns.
    pub fn read_then_write<R, W>(
        &mut self,
        row: usize,
        first: usize,
        buffers: &mut Buffers<E::Float>,
        read: impl FnOnce(&[E], &mut [E::Float]) -> R,
        write: impl FnOnce(R, &mut [E::Float], &mut [E]) -> W,
    ) -> W {
        let (rows, in_place) = (self.rows, self.in_place);
        let out = self.written(row, first);
        let between = &mut buffers.gradient[..rows.width()];
        let found = read(if in_place { &*out } else { rows.row(row) }, between);
        write(found, between, out)
    }

    /// Where the gradient of a row is written.
    fn written(&mut self, row: usize, first: usize) -> &mut [E] {
        let width = self.rows.width();
        match &mut self.gradient {
            Gradient::Contiguous(all) => &mut all[(row - first) * width..][..width],
            Gradient::Rows(rows) => &mut *rows[row - first],
            Gradient::None => unreachable!("a gradient is written only where one is asked for"),
        }
    }

    /// The rows before `row`, and those from there on, of a strip that begins at row 0.
    pub fn halves(&mut self, row: usize) -> [Strip<'_, E>; 2] {
        let (rows, in_place) = (self.rows, self.in_place);
        let half = |gradient| Strip { rows, in_place, gradient };
        match &mut self.gradient {
            Gradient::None => [half(Gradient::None), half(Gradient::None)],
            Gradient::Contiguous(all) => {
                let (before, after) = all.split_at_mut(row * rows.width());
                [half(Gradient::Contiguous(before)), half(Gradient::Contiguous(after))]
            }
            Gradient::Rows(all) => {
                let (before, after) = all.split_at_mut(row);
                [before, after].map(|rows| half(Gradient::Rows(rows.iter_mut().map(|row| &mut **row).collect())))
            }
        }
    }

    /// Writes single numbers of the gradient of row `row`, each with its place.
    pub fn put(&mut self, row: usize, first: usize, numbers: impl Iterator<Item = (usize, E::Float)>) {
        let out = self.written(row, first);
        for (place, number) in numbers {
            E::put(&mut out[place..=place], &[number]);
        }
    }

    /// Sets the gradient of row `row` to 0.
    pub fn clear(&mut self, row: usize, first: usize) {
        let width = self.rows.width();
        match &mut self.gradient {
            Gradient::None => {}
            Gradient::Contiguous(all) => all[(row - first) * width..][..width].fill(E::default()),
            Gradient::Rows(rows) => rows[row - first].fill(E::default()),
        }
    }

    /// Reads numbers `range` of the rows put one after another; `first` is the first number of the piece.
    pub fn read_block<R>(
        &self,
        range: Range<usize>,
        first: usize,
        buffers: &mut Buffers<E::Float>,
        body: impl FnOnce(&[E::Float]) -> R,
    ) -> R {
        match &self.gradient {
            Gradient::Contiguous(all) if self.in_place => {
                body(E::view(&all[range.start - first..range.end - first], &mut buffers.input))
            }
            _ => body(self.rows.block(range, &mut buffers.input)),
        }
    }

    /// The same, and `body` writes the gradient of those numbers.
    pub fn read_and_write_block(
        &mut self,
        range: Range<usize>,
        first: usize,
        buffers: &mut Buffers<E::Float>,
        body: impl FnOnce(&[E::Float], &mut [E::Float]),
    ) {
        let Gradient::Contiguous(all) = &mut self.gradient else {
            unreachable!("blocks are read of gradients that lie in one piece")
        };
        let out = &mut all[range.start - first..range.end - first];
        let Buffers { input, gradient } = buffers;
        let input = if self.in_place { copied(out, input) } else { self.rows.block(range, input) };
        E::fill(out, gradient, |out| body(input, out));
    }
}

/// A private copy, which stays when the row is written over.
fn copied<'a, E: Element>(row: &[E], scratch: &'a mut [E::Float]) -> &'a [E::Float] {
    let scratch = &mut scratch[..row.len()];
    if E::DIRECT {
        let mut nothing = [];
        scratch.copy_from_slice(E::view(row, &mut nothing));
    } else {
        E::view(row, scratch);
    }
    scratch
}

/// The gradient of one sequence on its way out, as it is stored: with the steps beyond the length.
pub enum Stretch<'a, E> {
    /// One stretch.
    Contiguous(&'a mut [E]),
    /// Row by row: the gradient of a time-major array.
    Rows(Vec<&'a mut [E]>),
}

/// What the gradient is multiplied by: the derivative of something later.
pub enum Upstream<'a> {
    /// The same for all.
    One(f64),
    /// One for each sequence.
    Sequences(Vec<f64>),
    /// One for each term.
    Terms(Vec<AnyRows<'a>>),
}

/// Where results go that are as large as the input.
pub struct Outputs<'a, E: Element> {
    /// The terms of each sequence, as they are stored.
    pub values: Option<Vec<&'a mut [E::Float]>>,
    /// The gradient of each sequence, and what it is multiplied by.
    pub gradient: Option<(Vec<Stretch<'a, E>>, Upstream<'a>)>,
}

/// Evaluates a loss, on as many threads as pay.
pub fn evaluate<E: Element>(
    loss: &dyn Loss<E>,
    reducer: &Reducer,
    outputs: Outputs<'_, E>,
    watch: &Watch<'_>,
) -> Result<Reduced, Error> {
    let sequences = loss.sequences();
    let mut measures = Measures::default();
    if reducer.measures() {
        let Measures { each, weight } = &mut measures;
        each.extend((0..sequences.len()).map(|sequence| loss.measure(sequence, weight)));
    }
    let Outputs { mut values, gradient } = outputs;
    let (mut gradients, upstream) = match gradient {
        Some((stretches, upstream)) => (Some(stretches), upstream),
        None => (None, Upstream::One(1.0)),
    };
    let factors = match gradients.is_some() {
        true => reducer.factors(sequences.len(), &measures),
        false => vec![],
    };
    let share = |sequence: usize| reducer.share(measures.each.get(sequence));
    let cutter = Cutter { loss, factors: &factors, share: &share, upstream: &upstream };
    let (values, stretches) = (values.as_deref_mut(), gradients.as_deref_mut());
    let items = cutter.items(Written { count: sequences.len(), values, stretches })?;
    let sums = Sums::new(loss, reducer)?;
    for_each_in_parts(
        items.into_iter(),
        loss.parts(),
        loss.work(),
        watch,
        || Ok((loss.worker()?, sums.part())),
        |item, (worker, part), ticker| {
            cutter.pieces(item, |piece| {
                let sequence = piece.sequence;
                let mut piece = Piece { sum: part.sum(), ..piece };
                worker(&mut piece, ticker)?;
                part.end(sequence);
                Ok(())
            })
        },
    )?;
    Ok(match sums {
        Sums::Nothing => Reduced::Terms,
        Sums::Sequences(sums) => {
            let sums = sums.into_iter().map(|sum| sum.into_inner().unwrap_or_else(PoisonError::into_inner).value());
            reducer.of_sequences(sums.collect(), &measures)
        }
        Sums::All(sum) => {
            let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
            reducer.of_sum(&sum, sequences.len(), &measures)
        }
    })
}

/// Sums that threads add to.
enum Sums {
    Nothing,
    /// One for each sequence.
    Sequences(Vec<Mutex<OfSequence>>),
    /// Of everything.
    All(Box<Mutex<Exact>>),
}

/// The sum of a sequence that is one piece, or is put together from several.
enum OfSequence {
    Whole(f64),
    Pieces(Box<Exact>),
}

/// What one thread adds to [`Sums`]; of everything when it is done.
struct Part<'a> {
    sums: &'a Sums,
    sum: Exact,
}

impl Sums {
    fn new<E: Element>(loss: &dyn Loss<E>, reducer: &Reducer) -> Result<Self, Error> {
        if reducer.reduction() == Reduction::None {
            return Ok(Self::Nothing);
        }
        if reducer.is_number() {
            return Ok(Self::All(Box::default()));
        }
        let sequences = loss.sequences().len();
        let mut sums = reserve(sequences)?;
        sums.extend((0..sequences).map(|sequence| {
            Mutex::new(match loss.terms(sequence) > loss.grain() {
                true => OfSequence::Pieces(Box::default()),
                false => OfSequence::Whole(0.0),
            })
        }));
        Ok(Self::Sequences(sums))
    }

    fn part(&self) -> Part<'_> {
        Part { sums: self, sum: Exact::new() }
    }
}

impl OfSequence {
    fn value(self) -> f64 {
        match self {
            Self::Whole(value) => value,
            Self::Pieces(sum) => sum.value(),
        }
    }
}

impl Part<'_> {
    /// Where the terms of the next piece are added up.
    fn sum(&mut self) -> Option<&mut Exact> {
        match self.sums {
            Sums::Nothing => None,
            _ => Some(&mut self.sum),
        }
    }

    /// Must be called after each piece.
    fn end(&mut self, sequence: usize) {
        if let Sums::Sequences(sums) = self.sums {
            match &mut *sums[sequence].lock().unwrap_or_else(PoisonError::into_inner) {
                OfSequence::Whole(value) => *value = self.sum.take(),
                OfSequence::Pieces(sum) => {
                    sum.merge(&self.sum);
                    self.sum.clear();
                }
            }
        }
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if let Sums::All(sum) = self.sums {
            sum.lock().unwrap_or_else(PoisonError::into_inner).merge(&self.sum);
        }
    }
}

/// What a thread takes at once.
enum Item<'a, 'out, E: Element> {
    /// A part of a long sequence.
    Piece(Piece<'a, E>),
    /// Short sequences that follow one another, from this one on.
    Short(usize, Written<'a, 'out, E>),
}

/// What is written for some sequences: the terms of each, and the gradient of each.
struct Written<'a, 'out, E: Element> {
    count: usize,
    values: Option<&'a mut [&'out mut [E::Float]]>,
    stretches: Option<&'a mut [Stretch<'out, E>]>,
}

impl<'out, E: Element> Written<'_, 'out, E> {
    /// Takes that of the first sequences off.
    fn front(&mut self, count: usize) -> Self {
        Self {
            count,
            values: self.values.as_mut().map(|values| front(values, count)),
            stretches: self.stretches.as_mut().map(|stretches| front(stretches, count)),
        }
    }

    /// That of the next sequence.
    fn next(&mut self) -> (Option<&'out mut [E::Float]>, Option<Stretch<'out, E>>) {
        let values = self.values.as_mut().map(|values| std::mem::take(&mut front(values, 1)[0]));
        let nothing = Stretch::Contiguous(&mut []);
        (values, self.stretches.as_mut().map(|stretches| std::mem::replace(&mut front(stretches, 1)[0], nothing)))
    }
}

/// Cuts sequences, and all that is written for them, into pieces.
struct Cutter<'a, E> {
    loss: &'a dyn Loss<E>,
    factors: &'a [f64],
    share: &'a (dyn Fn(usize) -> f64 + Sync),
    upstream: &'a Upstream<'a>,
}

impl<'a, E: Element> Cutter<'a, E> {
    /// So much work is worth that a thread comes for it: for each of many short sequences, to come took longer than to work.
    const WORTH: usize = 8192;

    fn items<'out>(&self, mut rest: Written<'a, 'out, E>) -> Result<Vec<Item<'a, 'out, E>>, Error> {
        let (loss, sequences) = (self.loss, rest.count);
        let worth = if loss.parts() > 1 { 0 } else { Self::WORTH };
        let is_long = |sequence: usize| loss.terms(sequence) > loss.grain();
        let mut items = vec![];
        let mut first = 0;
        while first < sequences {
            let terms = loss.terms(first);
            let room = items.try_reserve(1 + terms / loss.grain());
            room.map_err(|_| Error::Memory(size_of::<Item<'a, 'out, E>>()))?;
            let (mut count, mut work) = (1, loss.cost(first));
            if is_long(first) {
                let (mut values, mut stretch) = rest.front(1).next();
                for start in (0..terms).step_by(loss.grain()) {
                    let terms = start..terms.min(start + loss.grain());
                    items.push(Item::Piece(self.piece(first, terms, &mut values, &mut stretch)));
                }
                clear(stretch);
            } else {
                while work < worth && first + count < sequences && !is_long(first + count) {
                    work += loss.cost(first + count);
                    count += 1;
                }
                items.push(Item::Short(first, rest.front(count)));
            }
            first += count;
        }
        if worth == 0 {
            items.sort_by_cached_key(|item| {
                let (Item::Piece(Piece { sequence, .. }) | Item::Short(sequence, _)) = item;
                Reverse(loss.cost(*sequence))
            });
        }
        Ok(items)
    }

    /// Hands over the pieces of an item.
    fn pieces(
        &self,
        item: Item<'a, '_, E>,
        mut each: impl FnMut(Piece<'_, E>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (first, mut written) = match item {
            Item::Piece(piece) => return each(piece),
            Item::Short(first, written) => (first, written),
        };
        for sequence in first..first + written.count {
            let (mut values, mut stretch) = written.next();
            let terms = self.loss.terms(sequence);
            if terms > 0 {
                each(self.piece(sequence, 0..terms, &mut values, &mut stretch))?;
            }
            clear(stretch);
        }
        Ok(())
    }

    /// A piece of a sequence; takes off what is written for it.
    fn piece<'out: 'a>(
        &self,
        sequence: usize,
        terms: Range<usize>,
        values: &mut Option<&'out mut [E::Float]>,
        stretch: &mut Option<Stretch<'out, E>>,
    ) -> Piece<'a, E> {
        let sequences = self.loss.sequences();
        let (count, rows) = (terms.len(), sequences.rows[sequence]);
        let gradient = match stretch {
            None => Gradient::None,
            Some(Stretch::Contiguous(all)) => Gradient::Contiguous(front(all, count * self.loss.stretch(sequence))),
            // Time-major gradients belong to losses whose one term is the whole sequence.
            Some(Stretch::Rows(all)) => Gradient::Rows(all.drain(..rows.count()).collect()),
        };
        let factor = self.factors.get(sequence).copied().unwrap_or(0.0);
        Piece {
            sequence,
            terms,
            values: values.as_mut().map(|values| front(values, count)),
            strip: Strip { rows, in_place: sequences.in_place, gradient },
            sum: None,
            share: (self.share)(sequence),
            factor: match self.upstream {
                Upstream::One(upstream) => factor * upstream,
                Upstream::Sequences(upstream) => factor * upstream[sequence],
                Upstream::Terms(_) => factor,
            },
            upstream: match self.upstream {
                Upstream::Terms(rows) => Some(rows[sequence]),
                _ => None,
            },
        }
    }
}

/// What lies beyond the length has no gradient; the memory may be the caller's and hold anything.
fn clear<E: Element>(stretch: Option<Stretch<'_, E>>) {
    match stretch {
        None => {}
        Some(Stretch::Contiguous(rest)) => rest.fill(E::default()),
        Some(Stretch::Rows(rest)) => rest.into_iter().for_each(|row| row.fill(E::default())),
    }
}

/// Takes the first `count` numbers off a slice.
#[expect(clippy::mut_mut, reason = "the slice itself is changed, to what is left of it")]
pub(crate) fn front<'a, T>(slice: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (taken, rest) = std::mem::take(slice).split_at_mut(count);
    *slice = rest;
    taken
}
