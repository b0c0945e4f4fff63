//! Arrays on their way in: to hold one of these types is to have checked it.
//!
//! An array comes as a [`View`] (numbers, shape, strides). Losses get *sequences* of *rows*: a row is contiguous, whatever
//! lies between rows, so padded, ragged, time-major and reversed arrays are all read where they lie. What belongs to
//! single steps (targets, masks, rewards) is copied, because checked numbers must not change afterwards.

use std::borrow::Cow;
use std::ops::Range;

use half::{bf16, f16};

use crate::error::{Error, subscript, tuple};
use crate::float::{Element, Float};

/// Numbers with a shape and strides (in numbers, any sign). Every index of the shape lies within `data`.
#[derive(Debug, Clone)]
pub struct View<'a, E> {
    data: &'a [E],
    offset: usize,
    shape: Cow<'a, [usize]>,
    strides: Cow<'a, [isize]>,
}

impl<'a, E> View<'a, E> {
    /// A view of `data`; the first number is at `offset`. `None` where an index would lie outside.
    pub fn new(
        data: &'a [E],
        offset: usize,
        shape: impl Into<Cow<'a, [usize]>>,
        strides: impl Into<Cow<'a, [isize]>>,
    ) -> Option<Self> {
        let (shape, strides) = (shape.into(), strides.into());
        if shape.len() != strides.len() {
            return None;
        }
        if !shape.contains(&0) {
            let (mut least, mut most) = (offset, offset);
            for (&length, &stride) in shape.iter().zip(&*strides) {
                let reach = (length - 1).checked_mul(stride.unsigned_abs())?;
                if stride < 0 {
                    least = least.checked_sub(reach)?;
                } else {
                    most = most.checked_add(reach)?;
                }
            }
            if most >= data.len() {
                return None;
            }
        }
        Some(Self { data, offset, shape, strides })
    }

    /// A view of numbers that lie one after another.
    pub fn contiguous(data: &'a [E], shape: impl Into<Cow<'a, [usize]>>) -> Option<Self> {
        let shape = shape.into();
        let mut strides = vec![0; shape.len()];
        let mut stride = 1isize;
        for (axis, &length) in shape.iter().enumerate().rev() {
            strides[axis] = stride;
            stride = stride.checked_mul(length as isize)?;
        }
        Self::new(data, 0, shape, strides)
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether the numbers lie one after another.
    fn is_contiguous(&self) -> bool {
        let mut stride = 1;
        self.shape.iter().zip(&*self.strides).rev().all(|(&length, &own)| {
            let fits = length == 1 || own == stride;
            stride *= length as isize;
            fits
        })
    }

    /// The same numbers with the first two axes exchanged.
    #[must_use]
    pub fn swapped(mut self) -> Self {
        self.shape.to_mut().swap(0, 1);
        self.strides.to_mut().swap(0, 1);
        self
    }

    /// The rows of the part that is left when the leading axes have these indices: the last axis is the row, the one
    /// before it (if any) counts rows.
    fn rows(&self, leading: &[usize]) -> Rows<'a, E> {
        let axes = self.shape.len() - leading.len();
        let width = self.shape[self.shape.len() - 1];
        let (count, stride) = if axes == 2 { (self.shape[leading.len()], self.strides[leading.len()]) } else { (1, 0) };
        if self.shape.contains(&0) {
            return Rows { data: &[], offset: 0, stride: 0, count, width };
        }
        debug_assert!(width == 1 || self.strides[self.shape.len() - 1] == 1, "the last axis is contiguous");
        let offset = leading
            .iter()
            .zip(&*self.strides)
            .fold(self.offset as isize, |offset, (&index, &stride)| offset + index as isize * stride);
        Rows { data: self.data, offset: offset as usize, stride, count, width }
    }
}

impl<'a, E> View<'a, E> {
    /// All numbers as rows of rows, the last two axes together, and how many numbers each of them has.
    pub fn planes(&self) -> (Vec<Rows<'a, E>>, usize) {
        let Some(&width) = self.shape.last() else {
            return (vec![Rows { data: self.data, offset: self.offset, stride: 0, count: 1, width: 1 }], 1);
        };
        let leading = &self.shape[..self.shape.len().saturating_sub(2)];
        if self.shape.contains(&0) {
            return (vec![], 0);
        }
        let mut planes = vec![];
        let mut index = vec![0; leading.len()];
        loop {
            planes.push(self.rows(&index));
            // Counts up, the last axis first.
            let Some(axis) = (0..leading.len()).rev().find(|&axis| index[axis] + 1 < leading[axis]) else {
                return (planes, self.shape[leading.len()..].iter().rev().skip(1).product::<usize>() * width);
            };
            index[axis] += 1;
            index[axis + 1..].fill(0);
        }
    }
}

impl<E: Copy> View<'_, E> {
    /// All numbers, converted, the last axis first.
    pub fn copied<T>(&self, convert: impl Fn(E) -> T) -> Result<Vec<T>, Error> {
        let count = self.shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
        let mut values = reserve(count.ok_or(Error::Memory(usize::MAX))?)?;
        if self.shape.contains(&0) {
            return Ok(values);
        }
        let Some((&width, outer)) = self.shape.split_last() else {
            values.push(convert(self.data[self.offset]));
            return Ok(values);
        };
        if self.is_contiguous() {
            let all = &self.data[self.offset..self.offset + count.unwrap_or(0)];
            values.extend(all.iter().map(|&value| convert(value)));
            return Ok(values);
        }
        let mut index = vec![0; outer.len()];
        loop {
            let rows = self.rows(&index);
            values.extend(rows.row(0)[..width].iter().map(|&value| convert(value)));
            // Counts up, the last axis first.
            let Some(axis) = (0..outer.len()).rev().find(|&axis| index[axis] + 1 < outer[axis]) else {
                return Ok(values);
            };
            index[axis] += 1;
            index[axis + 1..].fill(0);
        }
    }
}

/// An argument that may be one array, or a list of arrays of their own lengths.
#[derive(Debug, Clone)]
pub enum Argument<V> {
    /// One array.
    Array(V),
    /// One array for each sequence.
    List(Vec<V>),
}

/// Rows of one sequence: contiguous each, at any distance from one another.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a, E> {
    data: &'a [E],
    offset: usize,
    stride: isize,
    count: usize,
    width: usize,
}

impl<'a, E> Rows<'a, E> {
    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many numbers a row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Row number `index`.
    pub fn row(&self, index: usize) -> &'a [E] {
        debug_assert!(index < self.count);
        if self.data.is_empty() {
            return &[];
        }
        let start = (self.offset as isize + index as isize * self.stride) as usize;
        &self.data[start..start + self.width]
    }

    /// Numbers `range` of all rows put one after another, if they lie so.
    pub fn contiguous(&self, range: Range<usize>) -> Option<&'a [E]> {
        if range.is_empty() {
            return Some(&[]);
        }
        let start = self.offset + range.start;
        let is_one = self.count == 1 || self.stride == self.width as isize;
        is_one.then(|| &self.data[start..start + range.len()])
    }
}

impl<'a, E: Element> Rows<'a, E> {
    /// Numbers `range` of all rows put one after another, gathered in `scratch` where they do not lie so.
    pub fn block<'s, F: Float>(&self, range: Range<usize>, scratch: &'s mut [F]) -> &'s [F]
    where
        'a: 's,
    {
        if let Some(numbers) = self.contiguous(range.clone()) {
            return E::view(numbers, scratch);
        }
        let mut done = 0;
        while done < range.len() {
            let at = range.start + done;
            let column = at % self.width;
            let length = (self.width - column).min(range.len() - done);
            let piece = &self.row(at / self.width)[column..column + length];
            let into = &mut scratch[done..done + length];
            // `view` hands back the piece itself where it needs no conversion; then it is copied here.
            let mut copied = [F::default(); 64];
            if E::DIRECT {
                for (part, into) in piece.chunks(64).zip(into.chunks_mut(64)) {
                    into.copy_from_slice(E::view(part, &mut copied));
                }
            } else {
                E::view(piece, into);
            }
            done += length;
        }
        &scratch[..range.len()]
    }

    /// The same geometry with the first `count` rows only.
    fn first(self, count: usize) -> Self {
        Self { count: count.min(self.count), ..self }
    }
}

/// Rows of any of the four element types, read as the one that a kernel computes with.
#[derive(Debug, Clone, Copy)]
pub enum AnyRows<'a> {
    /// float16
    F16(Rows<'a, f16>),
    /// bfloat16
    Bf16(Rows<'a, bf16>),
    /// float32
    F32(Rows<'a, f32>),
    /// float64
    F64(Rows<'a, f64>),
}

/// A view of any of the four element types.
#[derive(Debug, Clone)]
pub enum AnyView<'a> {
    /// float16
    F16(View<'a, f16>),
    /// bfloat16
    Bf16(View<'a, bf16>),
    /// float32
    F32(View<'a, f32>),
    /// float64
    F64(View<'a, f64>),
}

/// Does the same with whatever element type is there.
macro_rules! each_element {
    ($kind:ident, $value:expr, $inner:ident => $body:expr) => {
        match $value {
            $kind::F16($inner) => $body,
            $kind::Bf16($inner) => $body,
            $kind::F32($inner) => $body,
            $kind::F64($inner) => $body,
        }
    };
}

impl<'a> AnyRows<'a> {
    /// Row number `index`.
    pub fn row<'s, F: Float>(&self, index: usize, scratch: &'s mut [F]) -> &'s [F]
    where
        'a: 's,
    {
        each_element!(AnyRows, self, rows => Element::view(rows.row(index), scratch))
    }

    /// Numbers `range` of all rows put one after another.
    pub fn block<'s, F: Float>(&self, range: Range<usize>, scratch: &'s mut [F]) -> &'s [F]
    where
        'a: 's,
    {
        each_element!(AnyRows, self, rows => rows.block(range, scratch))
    }

    /// Copies all rows behind what is in `values`.
    fn append_to(&self, values: &mut Vec<f64>) {
        let (start, count) = (values.len(), each_element!(AnyRows, self, rows => rows.count * rows.width));
        values.resize(start + count, 0.0);
        let mut buffer = [0.0; 256];
        for first in (0..count).step_by(256) {
            let range = first..count.min(first + 256);
            let into = start + range.start..start + range.end;
            values[into].copy_from_slice(self.block(range, &mut buffer));
        }
    }
}

impl<'a> AnyView<'a> {
    /// The lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        each_element!(AnyView, self, view => view.shape())
    }

    /// The same numbers with the first two axes exchanged.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::F16(view) => Self::F16(view.swapped()),
            Self::Bf16(view) => Self::Bf16(view.swapped()),
            Self::F32(view) => Self::F32(view.swapped()),
            Self::F64(view) => Self::F64(view.swapped()),
        }
    }

    /// All numbers as rows of rows: see [`View::planes`].
    pub fn planes(&self) -> (Vec<AnyRows<'a>>, usize) {
        fn of<'a, E>(view: &View<'a, E>, rows: fn(Rows<'a, E>) -> AnyRows<'a>) -> (Vec<AnyRows<'a>>, usize) {
            let (planes, count) = view.planes();
            (planes.into_iter().map(rows).collect(), count)
        }
        match self {
            AnyView::F16(view) => of(view, AnyRows::F16),
            AnyView::Bf16(view) => of(view, AnyRows::Bf16),
            AnyView::F32(view) => of(view, AnyRows::F32),
            AnyView::F64(view) => of(view, AnyRows::F64),
        }
    }

    fn rows(&self, leading: &[usize]) -> AnyRows<'a> {
        match self {
            AnyView::F16(view) => AnyRows::F16(view.rows(leading)),
            AnyView::Bf16(view) => AnyRows::Bf16(view.rows(leading)),
            AnyView::F32(view) => AnyRows::F32(view.rows(leading)),
            AnyView::F64(view) => AnyRows::F64(view.rows(leading)),
        }
    }

    /// All numbers as float64, the last axis first.
    pub fn to_vec(&self) -> Result<Vec<f64>, Error> {
        match self {
            AnyView::F16(view) => view.copied(f64::from),
            AnyView::Bf16(view) => view.copied(f64::from),
            AnyView::F32(view) => view.copied(f64::from),
            AnyView::F64(view) => view.copied(|value| value),
        }
    }
}

/// Integers, copied; they may become indices once they are checked.
#[derive(Debug, Clone)]
pub struct Integers {
    /// The numbers, the last axis first.
    pub values: Vec<i64>,
    /// The lengths of the axes.
    pub shape: Vec<usize>,
}

impl Integers {
    fn view(&self) -> View<'_, i64> {
        View::contiguous(&self.values, &*self.shape).expect("as many numbers as the shape says")
    }
}

/// How sequences lie in the first argument, and so in all that is returned in its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// The axes that count sequences: none for one sequence, N, or N and K. For a list: its length, and K if its items
    /// have that axis.
    pub outer: Vec<usize>,
    /// Whether the sequences came as a list of arrays.
    pub ragged: bool,
    /// The steps of every sequence, as they are stored.
    pub steps: Vec<usize>,
    /// The axis of the steps, also where there is no sequence to have them: of the array, or of each item of the list.
    pub padding: Vec<usize>,
}

impl Structure {
    /// How many sequences there are.
    pub fn sequences(&self) -> usize {
        self.steps.len()
    }

    /// The index of a step as the caller would write it.
    pub fn index(&self, sequence: usize, step: Option<usize>) -> Vec<usize> {
        let mut index = match self.outer[..] {
            [] => vec![],
            [_, group] => vec![sequence / group, sequence % group],
            _ => vec![sequence],
        };
        index.extend(step);
        index
    }

    /// Whether an array has `inner` axes for every step.
    fn is_shape(&self, shape: &[usize], inner: &[usize]) -> bool {
        let axes = self.outer.iter().chain(&self.padding[..1]).chain(inner);
        shape.len() == self.outer.len() + 1 + inner.len() && shape.iter().eq(axes)
    }

    /// The shape of one array that has `inner` axes for every step.
    pub fn shape(&self, inner: &[usize]) -> Vec<usize> {
        let mut shape = self.outer.clone();
        shape.push(self.padding[0]);
        shape.extend(inner);
        shape
    }

    /// The same for item `item` of a list.
    pub fn item_shape(&self, item: usize, inner: &[usize]) -> Vec<usize> {
        let mut shape = self.outer[1..].to_vec();
        shape.push(self.padding[if self.ragged { item } else { 0 }]);
        shape.extend(inner);
        shape
    }

    /// How many sequences share the first axis.
    pub fn group(&self) -> usize {
        if self.outer.len() == 2 { self.outer[1] } else { 1 }
    }
}

/// The first argument of a loss: sequences of rows.
#[derive(Debug, Clone)]
pub struct Sequences<'a, E> {
    /// The rows of every sequence, up to its length.
    pub rows: Vec<Rows<'a, E>>,
    /// How they lie in the argument.
    pub structure: Structure,
    /// What its axes are.
    pub axes: Axes,
    /// The numbers of one step: C, or D, or 1.
    pub width: usize,
    /// Whether the gradient is written over the argument, which is then read from there.
    pub in_place: bool,
}

/// Which axes an argument has, after those that count sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// Steps only; the steps are one row.
    Steps,
    /// Steps, each of them a row.
    StepsOfRows,
    /// Steps first, then sequences (time-major), then the row.
    TimeMajor,
}

impl Axes {
    fn inner(self) -> usize {
        if self == Self::Steps { 1 } else { 2 }
    }
}

impl<'a, E: Element> Sequences<'a, E> {
    /// Takes an argument apart into sequences. `groups` admits a group axis after the first.
    pub fn new(name: &str, argument: &Argument<View<'a, E>>, axes: Axes, groups: bool) -> Result<Self, Error> {
        let inner = axes.inner();
        match argument {
            Argument::Array(view) => {
                let shape = view.shape();
                let outer = shape.len().wrapping_sub(inner);
                if outer > 1 + usize::from(groups) {
                    let expected = format!("{inner} to {} axes", inner + 1 + usize::from(groups));
                    return Err(Error::shape(name, shape, expected));
                }
                // One sequence has no axis for them, so there is nothing to exchange.
                let time_major = axes == Axes::TimeMajor && outer == 1;
                let (outer, steps) = match time_major {
                    true => (vec![shape[1]], shape[0]),
                    false => (shape[..outer].to_vec(), shape[outer]),
                };
                let sequences = outer.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
                let sequences = sequences.ok_or(Error::Memory(usize::MAX))?;
                let mut rows = reserve(sequences)?;
                for sequence in 0..sequences {
                    rows.push(match outer[..] {
                        [] => view.rows(&[]),
                        [_] if time_major => view.rows_time_major(sequence),
                        [_] => view.rows(&[sequence]),
                        _ => view.rows(&[sequence / outer[1], sequence % outer[1]]),
                    });
                }
                let mut step_counts = reserve(sequences)?;
                step_counts.resize(sequences, steps);
                let width = if inner == 2 { shape[shape.len() - 1] } else { 1 };
                let structure = Structure { outer, ragged: false, steps: step_counts, padding: vec![steps] };
                Ok(Self { rows, structure, axes, width, in_place: false })
            }
            Argument::List(views) => {
                let grouped = groups && views.first().is_some_and(|view| view.shape().len() == inner + 1);
                let (mut rows, mut steps) = (reserve(views.len())?, reserve(views.len())?);
                let mut sizes = None;
                for (item, view) in views.iter().enumerate() {
                    let shape = view.shape();
                    if shape.len() != inner + usize::from(grouped) {
                        let least = if groups { format!("{inner} or {}", inner + 1) } else { inner.to_string() };
                        let expected = format!("as many axes as the other items ({least})");
                        return Err(Error::shape(&subscript(name, &[item]), shape, expected));
                    }
                    let group = if grouped { shape[0] } else { 1 };
                    let width = if inner == 2 { shape[shape.len() - 1] } else { 1 };
                    let (first_group, first_width) = *sizes.get_or_insert((group, width));
                    if width != first_width || group != first_group {
                        let message = format!("the sizes of {name}[0] on every axis but that of the steps");
                        return Err(Error::shape(&subscript(name, &[item]), shape, message));
                    }
                    for member in 0..group {
                        rows.push(if grouped { view.rows(&[member]) } else { view.rows(&[]) });
                        steps.push(shape[usize::from(grouped)]);
                    }
                }
                let (group, width) = sizes.unwrap_or((1, 1));
                let outer = if grouped { vec![views.len(), group] } else { vec![views.len()] };
                let padding = views.iter().map(|view| view.shape()[usize::from(grouped)]).collect();
                let structure = Structure { outer, ragged: true, steps, padding };
                Ok(Self { rows, structure, axes, width, in_place: false })
            }
        }
    }

    /// The number of sequences.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The axes behind the steps.
    pub fn inner(&self) -> &[usize] {
        if self.axes == Axes::Steps { &[] } else { std::slice::from_ref(&self.width) }
    }

    /// Leaves the rows up to each length. With [`Axes::Steps`] there is one row, which keeps its width: what is valid
    /// within it is up to the loss.
    pub fn truncate(&mut self, lengths: &[usize]) {
        for (rows, &length) in self.rows.iter_mut().zip(lengths) {
            *rows = rows.first(length);
        }
    }

    /// Forgets the numbers and keeps the geometry: they are read from where the gradient will be.
    pub fn read_in_place(&mut self) {
        self.in_place = true;
        for rows in &mut self.rows {
            rows.data = &[];
        }
    }
}

impl<'a, E> View<'a, E> {
    fn rows_time_major(&self, sequence: usize) -> Rows<'a, E> {
        let (count, width) = (self.shape[0], self.shape[2]);
        if self.shape.contains(&0) {
            return Rows { data: &[], offset: 0, stride: 0, count, width };
        }
        let offset = self.offset as isize + sequence as isize * self.strides[1];
        Rows { data: self.data, offset: offset as usize, stride: self.strides[0], count, width }
    }
}

/// One value for every step of every sequence, copied.
#[derive(Debug, Clone)]
pub struct PerStep<T> {
    values: Vec<T>,
    /// Where each sequence starts, and where the last one ends.
    starts: Vec<usize>,
}

impl<T> PerStep<T> {
    /// The values of one sequence.
    pub fn of(&self, sequence: usize) -> &[T] {
        &self.values[self.starts[sequence]..self.starts[sequence + 1]]
    }

    /// The values of one sequence, to be changed.
    pub fn of_mut(&mut self, sequence: usize) -> &mut [T] {
        &mut self.values[self.starts[sequence]..self.starts[sequence + 1]]
    }

    /// The values of all sequences, one after another.
    pub fn all(&self) -> &[T] {
        &self.values
    }

    /// The same, to be changed.
    pub fn all_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// How many sequences there are.
    pub fn sequences(&self) -> usize {
        self.starts.len() - 1
    }

    /// Values that lie one after another, as many as there are steps.
    pub fn new(values: Vec<T>, structure: &Structure) -> Self {
        let starts = starts(structure);
        debug_assert_eq!(values.len(), starts[starts.len() - 1], "as many values as steps");
        Self { values, starts }
    }

    /// The same steps with other values.
    pub fn filled(structure: &Structure, value: T) -> Self
    where
        T: Clone,
    {
        let starts = starts(structure);
        Self { values: vec![value; starts[starts.len() - 1]], starts }
    }
}

impl<T: Copy + std::ops::Neg<Output = T>> PerStep<T> {
    /// Changes the sign of all values.
    pub fn negate(&mut self) {
        for value in &mut self.values {
            *value = -*value;
        }
    }
}

fn starts(structure: &Structure) -> Vec<usize> {
    let mut starts = Vec::with_capacity(structure.sequences() + 1);
    let mut end = 0;
    starts.push(0);
    starts.extend(structure.steps.iter().map(|steps| {
        end += steps;
        end
    }));
    starts
}

/// Something with a shape, whose rows can be taken.
pub trait Viewed {
    /// What is taken.
    type Rows;
    /// The lengths of the axes.
    fn shape(&self) -> &[usize];
    /// The rows of the part that is left when the leading axes have these indices.
    fn rows(&self, leading: &[usize]) -> Self::Rows;
}

impl<'a, E> Viewed for View<'a, E> {
    type Rows = Rows<'a, E>;

    fn shape(&self) -> &[usize] {
        self.shape()
    }

    fn rows(&self, leading: &[usize]) -> Rows<'a, E> {
        self.rows(leading)
    }
}

impl<'a> Viewed for AnyView<'a> {
    type Rows = AnyRows<'a>;

    fn shape(&self) -> &[usize] {
        self.shape()
    }

    fn rows(&self, leading: &[usize]) -> AnyRows<'a> {
        self.rows(leading)
    }
}

/// The rows of every sequence of an argument that has `inner` axes for every step of the first argument.
pub fn rows_like<V: Viewed>(
    name: &str,
    argument: &Argument<V>,
    structure: &Structure,
    inner: &[usize],
) -> Result<Vec<V::Rows>, Error> {
    let mut rows = reserve(structure.sequences())?;
    match argument {
        Argument::Array(view) => {
            if structure.ragged {
                // NumPy's reading of an empty list is an array.
                if structure.outer[0] == 0 && view.shape() == [0] {
                    return Ok(rows);
                }
                let expected = format!("a list of {} arrays", structure.outer[0]);
                return Err(Error::shape(name, view.shape(), expected));
            }
            if !structure.is_shape(view.shape(), inner) {
                return Err(Error::shape(name, view.shape(), tuple(&structure.shape(inner))));
            }
            let sequences = 0..structure.sequences();
            match structure.outer[..] {
                [] => rows.push(view.rows(&[])),
                [_, group] => rows.extend(sequences.map(|sequence| view.rows(&[sequence / group, sequence % group]))),
                _ => rows.extend(sequences.map(|sequence| view.rows(&[sequence]))),
            }
        }
        Argument::List(views) => {
            if !structure.ragged && structure.outer.len() != 1 {
                let expected = format!("{name} is a list of arrays, expected one of shape ");
                return Err(Error::Value(expected + &tuple(&structure.shape(inner))));
            }
            if views.len() != structure.outer[0] {
                let message = format!("{name} is a list of {} arrays, expected {}", views.len(), structure.outer[0]);
                return Err(Error::Value(message));
            }
            for (item, view) in views.iter().enumerate() {
                let expected = structure.item_shape(item, inner);
                if view.shape() != expected {
                    return Err(Error::shape(&subscript(name, &[item]), view.shape(), tuple(&expected)));
                }
                match structure.outer.len() {
                    1 => rows.push(view.rows(&[])),
                    _ => rows.extend((0..structure.group()).map(|member| view.rows(&[member]))),
                }
            }
        }
    }
    Ok(rows)
}

/// The same for what is given either for every step, or for every number of a step; and how many numbers share one.
pub fn rows_per_step_or_number<V: Viewed, E>(
    name: &str,
    argument: &Argument<V>,
    first: &Sequences<'_, E>,
) -> Result<(Vec<V::Rows>, usize), Error> {
    let view = match argument {
        Argument::Array(view) => Some(view),
        Argument::List(views) => views.first(),
    };
    let outer = if matches!(argument, Argument::List(_)) { 0 } else { first.structure.outer.len() };
    let of_numbers = first.axes != Axes::Steps && view.is_some_and(|view| view.shape().len() == outer + 2);
    let inner: &[usize] = if of_numbers { &[first.width] } else { &[] };
    Ok((rows_like(name, argument, &first.structure, inner)?, if of_numbers { 1 } else { first.width }))
}

fn per_step<R, T>(rows: Vec<R>, structure: &Structure, copy: impl Fn(R, &mut Vec<T>)) -> Result<PerStep<T>, Error> {
    let starts = starts(structure);
    let mut values = reserve(starts[starts.len() - 1])?;
    for rows in rows {
        copy(rows, &mut values);
    }
    Ok(PerStep { values, starts })
}

/// Integers of every step.
pub fn integers_per_step(
    name: &str,
    argument: &Argument<Integers>,
    structure: &Structure,
) -> Result<PerStep<i64>, Error> {
    if let Argument::Array(integers) = argument
        && !structure.ragged
        && structure.is_shape(&integers.shape, &[])
    {
        // They lie as they are wanted.
        let mut values = reserve(integers.values.len())?;
        values.extend_from_slice(&integers.values);
        return Ok(PerStep { values, starts: starts(structure) });
    }
    let views = match argument {
        Argument::Array(integers) => Argument::Array(integers.view()),
        Argument::List(items) => Argument::List(items.iter().map(Integers::view).collect()),
    };
    let rows = rows_like(name, &views, structure, &[])?;
    per_step(rows, structure, |rows, values| values.extend_from_slice(rows.row(0)))
}

/// Numbers of every step.
pub fn floats_per_step(
    name: &str,
    argument: &Argument<AnyView<'_>>,
    structure: &Structure,
) -> Result<PerStep<f64>, Error> {
    if let Argument::Array(view) = argument
        && !structure.ragged
        && structure.is_shape(view.shape(), &[])
    {
        return Ok(PerStep { values: view.to_vec()?, starts: starts(structure) });
    }
    let rows = rows_like(name, argument, structure, &[])?;
    per_step(rows, structure, |rows, values| rows.append_to(values))
}

/// A mask of every step. Masks are bytes: what NumPy calls a boolean may hold any.
pub fn mask_per_step(
    name: &str,
    argument: &Argument<View<'_, u8>>,
    structure: &Structure,
) -> Result<PerStep<bool>, Error> {
    let rows = rows_like(name, argument, structure, &[])?;
    per_step(rows, structure, |rows, values| values.extend(rows.row(0).iter().map(|&byte| byte != 0)))
}

/// One integer for every sequence, each in a range; the whole range's end where there are none.
pub fn lengths(name: &str, argument: Option<&Integers>, structure: &Structure) -> Result<Vec<usize>, Error> {
    let Some(integers) = argument else { return Ok(structure.steps.clone()) };
    // One sequence may have its length as a number, or as an array of one.
    let one = structure.outer.is_empty() && integers.values.len() == 1 && integers.shape.len() <= 1;
    if !one && integers.shape != structure.outer {
        return Err(Error::shape(name, &integers.shape, tuple(&structure.outer)));
    }
    for (sequence, (&length, &steps)) in integers.values.iter().zip(&structure.steps).enumerate() {
        if length < 0 || length as u64 > steps as u64 {
            let index = structure.index(sequence, None);
            return Err(Error::range(name, &index, length, format!("a length in 0..={steps}")));
        }
    }
    Ok(integers.values.iter().map(|&length| length as usize).collect())
}

/// Checks that a class is one, where it is used.
#[inline]
pub fn class(name: &str, structure: &Structure, at: (usize, usize), value: i64, classes: usize) -> Result<(), Error> {
    if value >= 0 && (value as u64) < classes as u64 {
        return Ok(());
    }
    Err(Error::range(name, &structure.index(at.0, Some(at.1)), value, format!("a class in 0..{classes}")))
}

/// An empty vector with room, or an error: sizes come from the caller.
pub fn reserve<T>(capacity: usize) -> Result<Vec<T>, Error> {
    let mut vector = Vec::new();
    let bytes = capacity.saturating_mul(size_of::<T>());
    vector.try_reserve_exact(capacity).map_err(|_| Error::Memory(bytes))?;
    Ok(vector)
}

/// Makes a vector `length` long, all of it `value`; its room is kept from use to use.
pub fn resize<T: Clone>(vector: &mut Vec<T>, length: usize, value: T) -> Result<(), Error> {
    vector.clear();
    make_room(vector, length)?;
    vector.resize(length, value);
    Ok(())
}

/// Makes room for `more` items behind those that are there, or an error.
pub fn make_room<T>(vector: &mut Vec<T>, more: usize) -> Result<(), Error> {
    vector.try_reserve(more).map_err(|_| Error::Memory(more.saturating_mul(size_of::<T>())))
}

/// Zeros as working memory, untouched until they are used where they are many, or an error.
pub fn zeros<T: bytemuck::Zeroable>(length: usize) -> Result<Vec<T>, Error> {
    // What was freed a moment ago is given out again at once, unless it must come zeroed.
    if length.saturating_mul(size_of::<T>()) <= 1024 {
        let mut vector = reserve(length)?;
        vector.resize_with(length, T::zeroed);
        return Ok(vector);
    }
    bytemuck::allocation::try_zeroed_vec(length).map_err(|()| Error::Memory(length.saturating_mul(size_of::<T>())))
}

/// The target labels of every sequence, each of them a class that is not the blank.
#[derive(Debug, Clone)]
pub struct Labels {
    values: Vec<usize>,
    starts: Vec<usize>,
}

impl Labels {
    /// Reads labels that are padded `(N, L)`, a list of N arrays, or concatenated to one axis with their lengths; for one
    /// sequence `(L,)`. What lies beyond a length is never looked at.
    pub fn new(
        argument: &Argument<Integers>,
        lengths: Option<&Integers>,
        structure: &Structure,
        classes: usize,
        blank: usize,
    ) -> Result<Self, Error> {
        let sequences = structure.sequences();
        let count = match argument {
            Argument::List(items) => items.iter().map(|labels| labels.values.len()).sum(),
            Argument::Array(labels) => labels.values.len(),
        };
        let mut labels = Self { values: reserve(count)?, starts: vec![] };
        let stored = |steps: Vec<usize>, padding| Structure { steps, padding: vec![padding], ..structure.clone() };
        let mut append = |label: i64, index: &[usize]| {
            if label == blank as i64 {
                return Err(Error::range("targets", index, label, "a label: it is the blank"));
            }
            if label < 0 || label as u64 >= classes as u64 {
                return Err(Error::range("targets", index, label, format!("a class in 0..{classes}")));
            }
            labels.values.push(label as usize);
            Ok(())
        };
        let mut starts = reserve(sequences.saturating_add(1))?;
        starts.push(0);
        let same = |length: usize| -> Result<Structure, Error> {
            let mut steps = vec![];
            resize(&mut steps, sequences, length)?;
            Ok(stored(steps, length))
        };
        match argument {
            Argument::List(items) => {
                if items.len() != sequences || structure.outer.is_empty() {
                    let message = format!("targets is a list of {} arrays, expected {sequences}", items.len());
                    return Err(Error::Value(message));
                }
                if let Some(item) = items.iter().position(|labels| labels.shape.len() != 1) {
                    return Err(Error::shape(&subscript("targets", &[item]), &items[item].shape, "one axis"));
                }
                let steps = items.iter().map(|labels| labels.values.len()).collect();
                let lengths = self::lengths("target_lengths", lengths, &stored(steps, 0))?;
                for (sequence, (item, length)) in items.iter().zip(lengths).enumerate() {
                    for (position, &label) in item.values[..length].iter().enumerate() {
                        append(label, &[sequence, position])?;
                    }
                    starts.push(starts[sequence] + length);
                }
            }
            Argument::Array(padded) if padded.shape.len() == structure.outer.len() + 1 => {
                if padded.shape[..structure.outer.len()] != structure.outer {
                    let expected = match structure.outer.first() {
                        Some(sequences) => format!("({sequences}, L)"),
                        None => "(L,)".to_owned(),
                    };
                    return Err(Error::shape("targets", &padded.shape, expected));
                }
                let width = padded.shape[structure.outer.len()];
                let lengths = self::lengths("target_lengths", lengths, &same(width)?)?;
                for (sequence, length) in lengths.into_iter().enumerate() {
                    for (position, &label) in padded.values[sequence * width..][..length].iter().enumerate() {
                        append(label, &structure.index(sequence, Some(position)))?;
                    }
                    starts.push(starts[sequence] + length);
                }
            }
            Argument::Array(concatenated) if concatenated.shape.len() == 1 => {
                let Some(lengths) = lengths else {
                    let message = "targets has one axis, which needs target_lengths to tell the sequences apart";
                    return Err(Error::Value(message.to_owned()));
                };
                let total = concatenated.values.len();
                let lengths = self::lengths("target_lengths", Some(lengths), &same(total)?)?;
                let sum = lengths.iter().fold(0usize, |sum, &length| sum.saturating_add(length));
                if sum != total {
                    let message = format!("target_lengths sums to {sum}, but targets has {total} labels");
                    return Err(Error::Value(message));
                }
                for (position, &label) in concatenated.values.iter().enumerate() {
                    append(label, &[position])?;
                }
                for (sequence, length) in lengths.into_iter().enumerate() {
                    starts.push(starts[sequence] + length);
                }
            }
            Argument::Array(other) => {
                let expected = match structure.outer.first() {
                    Some(sequences) => format!("({sequences}, L), or one axis with target_lengths"),
                    None => "(L,)".to_owned(),
                };
                return Err(Error::shape("targets", &other.shape, expected));
            }
        }
        labels.starts = starts;
        Ok(labels)
    }

    /// The labels of one sequence.
    pub fn of(&self, sequence: usize) -> &[usize] {
        &self.values[self.starts[sequence]..self.starts[sequence + 1]]
    }
}

/// The class that stands for no label.
pub fn blank(value: i64, classes: usize) -> Result<usize, Error> {
    if value < 0 || value as u64 >= classes as u64 {
        return Err(Error::range("blank", &[], value, format!("a class in 0..{classes}")));
    }
    Ok(value as usize)
}
