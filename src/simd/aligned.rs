//! Working memory that begins where the widest vectors like it to.

use std::ops::{Deref, DerefMut};

use crate::error::Error;

/// The length of a cache line, in numbers: a vector that lies across two costs twice as much to read.
const LINE: usize = 8;

/// Numbers that begin at a cache line.
#[derive(Debug, Default)]
pub struct Aligned {
    memory: Vec<f64>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// Makes it `length` long. Where it was shorter, what was in it is lost, and all is 0; it never gives memory back.
    pub fn grow(&mut self, length: usize) -> Result<(), Error> {
        if self.memory.len() < length + LINE {
            // The old memory is not needed beside the new.
            *self = Self::default();
            let numbers = length.saturating_add(LINE);
            let memory = bytemuck::allocation::try_zeroed_vec(numbers);
            self.memory = memory.map_err(|()| Error::Memory(numbers.saturating_mul(size_of::<f64>())))?;
            self.start = self.memory.as_ptr().align_offset(LINE * size_of::<f64>()).min(LINE);
        }
        self.length = length;
        Ok(())
    }
}

impl Deref for Aligned {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f64] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_begins_at_a_line() {
        let mut memory = Aligned::default();
        assert!(memory.is_empty());
        for length in [1, 7, 100, 40, 100_000] {
            memory.grow(length).unwrap();
            assert_eq!((memory.len(), memory.as_ptr() as usize % 64), (length, 0));
            memory[length - 1] = 1.0;
        }
    }
}
