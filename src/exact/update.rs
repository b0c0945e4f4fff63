//! Arrays of terms, added up on as many threads as pay.

use std::sync::{Mutex, PoisonError};

use super::LossSum;
use crate::error::{Error, subscript, tuple};
use crate::input::{AnyRows, AnyView, Argument, Rows, View};
use crate::parallel::{Watch, for_each};

/// The terms of an array, or of a list of arrays, of any shape.
pub struct Terms<'a> {
    planes: Vec<Plane<'a>>,
    numbers: usize,
}

/// The last two axes of an array, and of what belongs to it.
struct Plane<'a> {
    values: AnyRows<'a>,
    weights: Option<AnyRows<'a>>,
    mask: Option<Rows<'a, u8>>,
    numbers: usize,
}

/// So many numbers are converted at a time, ...
const BLOCK: usize = 1024;
/// ... and so many are what a thread takes at a time.
const GRAIN: usize = 64 * BLOCK;

impl<'a> Terms<'a> {
    /// Checks that there is a weight, and a byte of the mask (0 is not valid), for every value.
    pub fn new(
        values: &Argument<AnyView<'a>>,
        weights: Option<&Argument<AnyView<'a>>>,
        mask: Option<&Argument<View<'a, u8>>>,
    ) -> Result<Self, Error> {
        let is_list = matches!(values, Argument::List(_));
        let values = items(values);
        let shapes: Vec<&[usize]> = values.iter().map(AnyView::shape).collect();
        let weights = weights.map(|weights| alike("weights", weights, AnyView::shape, &shapes, is_list)).transpose()?;
        let mask = mask.map(|mask| alike("mask", mask, View::shape, &shapes, is_list)).transpose()?;
        let mut terms = Self { planes: vec![], numbers: 0 };
        for (item, values) in values.iter().enumerate() {
            let (values, numbers) = values.planes();
            let weights = weights.map(|weights| weights[item].planes().0);
            let mask = mask.map(|mask| mask[item].planes().0);
            terms.numbers += numbers * values.len();
            terms.planes.extend(values.into_iter().enumerate().map(|(plane, values)| Plane {
                values,
                weights: weights.as_ref().map(|planes| planes[plane]),
                mask: mask.as_ref().map(|planes| planes[plane]),
                numbers,
            }));
        }
        Ok(terms)
    }

    /// How many numbers there are, valid or not.
    pub fn numbers(&self) -> usize {
        self.numbers
    }

    /// Adds them up, each times its weight; what is masked is never looked at.
    pub fn sum(&self, watch: &Watch<'_>) -> Result<LossSum, Error> {
        let total = Mutex::new(LossSum::new(String::new()));
        let pieces: Vec<_> = self
            .planes
            .iter()
            .flat_map(|plane| (0..plane.numbers).step_by(GRAIN).map(move |first| (plane, first)))
            .collect();
        for_each(
            pieces.into_iter(),
            self.numbers,
            watch,
            || Ok(Part { total: &total, sum: LossSum::new(String::new()) }),
            |(plane, first), part, ticker| {
                let end = plane.numbers.min(first + GRAIN);
                for start in (first..end).step_by(BLOCK) {
                    let count = BLOCK.min(end - start);
                    ticker.tick(count)?;
                    plane.add(start, count, &mut part.sum);
                }
                Ok(())
            },
        )?;
        Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What one thread adds up, which is added to the total when it is done.
struct Part<'a> {
    total: &'a Mutex<LossSum>,
    sum: LossSum,
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.total.lock().unwrap_or_else(PoisonError::into_inner).add_sum(&self.sum);
    }
}

impl Plane<'_> {
    fn add(&self, first: usize, count: usize, sum: &mut LossSum) {
        let range = first..first + count;
        let (mut value_buffer, mut weight_buffer) = ([0.0; BLOCK], [0.0; BLOCK]);
        let values = self.values.block(range.clone(), &mut value_buffer);
        let weights = self.weights.map(|weights| weights.block(range.clone(), &mut weight_buffer));
        let Some(mask) = &self.mask else {
            match weights {
                None => sum.add(values),
                Some(weights) => sum.add_weighted(values, weights),
            }
            return;
        };
        for (local, number) in range.enumerate() {
            if mask.row(number / mask.width())[number % mask.width()] != 0 {
                match weights {
                    None => sum.add(&values[local..=local]),
                    Some(weights) => sum.add_weighted(&values[local..=local], &weights[local..=local]),
                }
            }
        }
    }
}

fn items<V>(argument: &Argument<V>) -> &[V] {
    match argument {
        Argument::Array(array) => std::slice::from_ref(array),
        Argument::List(arrays) => arrays,
    }
}

/// The arrays of an argument, which must be as many and of the same shapes as those of the values.
fn alike<'s, V>(
    name: &str,
    argument: &'s Argument<V>,
    shape: impl Fn(&V) -> &[usize],
    shapes: &[&[usize]],
    is_list: bool,
) -> Result<&'s [V], Error> {
    let arrays = items(argument);
    match argument {
        Argument::Array(_) if is_list => {
            let message = format!("{name} is one array, expected a list of {}, as values is", shapes.len());
            return Err(Error::Value(message));
        }
        Argument::List(_) if !is_list => {
            return Err(Error::Value(format!("{name} is a list of arrays, expected one array, as values is")));
        }
        _ if arrays.len() != shapes.len() => {
            let message =
                format!("{name} is a list of {} arrays, expected {}, as values is", arrays.len(), shapes.len());
            return Err(Error::Value(message));
        }
        _ => {}
    }
    for (item, (array, expected)) in arrays.iter().zip(shapes).enumerate() {
        if shape(array) != *expected {
            let name = if is_list { subscript(name, &[item]) } else { name.to_owned() };
            return Err(Error::shape(&name, shape(array), tuple(expected)));
        }
    }
    Ok(arrays)
}
