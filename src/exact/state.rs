//! A sum with what belongs to it: of weights, of terms, and of what.

use super::{Exact, LIMBS};
use crate::error::Error;

/// Σ w ℓ, Σ w and the number of terms: what a mean over parts is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct LossSum {
    settings: String,
    loss: Exact,
    weight: Exact,
    count: u64,
}

impl LossSum {
    /// Of nothing. `settings` says what will be added up; sums of unlike things do not merge.
    pub fn new(settings: impl Into<String>) -> Self {
        Self { settings: settings.into(), loss: Exact::new(), weight: Exact::new(), count: 0 }
    }

    /// What is added up.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// Adds numbers that count once each.
    pub fn add(&mut self, values: &[f64]) {
        for &value in values {
            self.loss.add(value);
        }
        // Not more than 2^53, so exact.
        self.weight.add(values.len() as f64);
        self.count = self.count.saturating_add(values.len() as u64);
    }

    /// Adds numbers times their weights, exactly. What has the weight 0 is no term.
    pub fn add_weighted(&mut self, values: &[f64], weights: &[f64]) {
        for (&value, &weight) in values.iter().zip(weights).filter(|(_, weight)| **weight != 0.0) {
            self.loss.add_product(value, weight);
            self.weight.add(weight);
            self.count = self.count.saturating_add(1);
        }
    }

    /// Adds what was summed elsewhere: `loss` is Σ w ℓ of `count` terms, `weight` their Σ w.
    pub fn add_sums(&mut self, loss: &Exact, weight: &Exact, count: u64) {
        self.loss.merge(loss);
        self.weight.merge(weight);
        self.count = self.count.saturating_add(count);
    }

    /// Adds another sum, whatever its settings.
    pub fn add_sum(&mut self, other: &Self) {
        self.add_sums(&other.loss, &other.weight, other.count);
    }

    /// Adds another sum of the same settings.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        if self.settings != other.settings {
            let message = format!("sums of \"{}\" and of \"{}\" do not merge", self.settings, other.settings);
            return Err(Error::Value(message));
        }
        self.add_sum(other);
        Ok(())
    }

    /// Σ w ℓ, correctly rounded.
    pub fn value(&self) -> f64 {
        self.loss.value()
    }

    /// Σ w, correctly rounded.
    pub fn weight(&self) -> f64 {
        self.weight.value()
    }

    /// The one over the other, correctly rounded; NaN where there is no weight.
    pub fn mean(&self) -> f64 {
        if self.weight() == 0.0 { f64::NAN } else { self.loss.over(&self.weight) }
    }

    /// How many terms were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of the terms w ℓ are NaN, ∞, −∞.
    pub fn special(&self) -> [u64; 3] {
        self.loss.special()
    }

    /// Everything, to be read by [`Self::from_bytes`] on any machine. Sums that are equal have equal bytes.
    ///
    /// All integers are little-endian. After the magic and the version: the length of the settings (4 bytes) and the
    /// settings in UTF-8, the count (8 bytes), and the two sums, first that of w ℓ. A sum is its counts of NaN, ∞ and −∞
    /// (8 bytes each), the number of its first limb and how many there are (2 bytes each), and the limbs (4 bytes each,
    /// signed; limb i counts 2^(32 i − 2163)). The last 8 bytes are the FNV-1a hash of what comes before.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.settings.len() as u32).to_le_bytes());
        bytes.extend(self.settings.as_bytes());
        bytes.extend(self.count.to_le_bytes());
        for sum in [&self.loss, &self.weight] {
            let mut sum = sum.clone();
            sum.carry();
            bytes.extend(sum.special.iter().flat_map(|count| count.to_le_bytes()));
            let (first, limbs) = sum.used();
            bytes.extend((first as u16).to_le_bytes());
            bytes.extend((limbs.len() as u16).to_le_bytes());
            bytes.extend(limbs.iter().flat_map(|limb| (*limb as i32).to_le_bytes()));
        }
        bytes.extend(hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(Error::Value("data does not begin as the bytes of a LossSum do".to_owned()));
        };
        let mut rest = Reader(rest);
        let version = u16::from_le_bytes(rest.take()?);
        if version != VERSION {
            let message = format!("data has version {version} of the bytes of a LossSum, expected {VERSION}");
            return Err(Error::Value(message));
        }
        let length = u32::from_le_bytes(rest.take()?) as usize;
        let settings = rest.slice(length)?.to_vec();
        let count = u64::from_le_bytes(rest.take()?);
        let (loss, weight) = (rest.sum()?, rest.sum()?);
        let found = u64::from_le_bytes(rest.take()?);
        let is_whole = rest.0.is_empty() && found == hash(&bytes[..bytes.len() - size_of::<u64>()]);
        match (is_whole, String::from_utf8(settings), loss, weight) {
            (true, Ok(settings), Some(loss), Some(weight)) => Ok(Self { settings, loss, weight, count }),
            _ => Err(Error::Value("data is damaged: its checksum does not fit".to_owned())),
        }
    }
}

const MAGIC: &[u8] = b"seqloss\x1fsum";
const VERSION: u16 = 1;
/// A sum that is read begins to be added to far below the last limb, so that no number of additions overflows.
const READABLE: usize = LIMBS - 2;

/// FNV-1a of 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.0.split_at_checked(length) else {
            return Err(Error::Value("data is too short: bytes of a LossSum are missing at its end".to_owned()));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        Ok(self.slice(N)?.try_into().expect("a slice of N bytes"))
    }

    /// `None` where it makes no sense.
    fn sum(&mut self) -> Result<Option<Exact>, Error> {
        let mut sum = Exact::new();
        for count in &mut sum.special {
            *count = u64::from_le_bytes(self.take()?);
        }
        let low = usize::from(u16::from_le_bytes(self.take()?));
        let count = usize::from(u16::from_le_bytes(self.take()?));
        let limbs = self.slice(size_of::<i32>() * count)?.chunks_exact(size_of::<i32>());
        if low + count > READABLE {
            return Ok(None);
        }
        let limb = |bytes: &[u8]| i64::from(i32::from_le_bytes(bytes.try_into().expect("a chunk of 4 bytes")));
        (sum.low, sum.limbs) = (low, limbs.map(limb).collect());
        Ok(Some(sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> LossSum {
        let mut sum = LossSum::new("ce|ε".to_owned());
        sum.add(&[1.5, f64::NAN, -1e300]);
        sum.add_weighted(&[0.1, f64::MAX], &[3.0, f64::MAX]);
        sum
    }

    #[test]
    fn bytes_are_everything() {
        let sum = example();
        let again = LossSum::from_bytes(&sum.to_bytes()).unwrap();
        assert_eq!(again, sum);
        assert_eq!(again.to_bytes(), sum.to_bytes());
        assert_eq!((again.count(), again.special(), again.settings()), (5, [1, 0, 0], "ce|ε"));
        let nothing = LossSum::new(String::new());
        assert_eq!(LossSum::from_bytes(&nothing.to_bytes()).unwrap(), nothing);
    }

    #[test]
    fn equal_sums_have_equal_bytes() {
        let (mut one, mut other) = (LossSum::new(String::new()), LossSum::new(String::new()));
        one.add(&[1e300, -1e300, 1.0, 0.25, -3.0]);
        other.add(&[-3.0, 0.25]);
        other.add(&[1.0, 0.0, 0.0]);
        assert_eq!(one, other);
        assert_eq!(one.to_bytes(), other.to_bytes());
    }

    #[test]
    fn damage_is_found() {
        let bytes = example().to_bytes();
        for length in 0..bytes.len() {
            assert!(LossSum::from_bytes(&bytes[..length]).is_err());
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                assert!(LossSum::from_bytes(&damaged).is_err(), "byte {place}");
            }
        }
        let mut newer = bytes.clone();
        newer[MAGIC.len()] = 2;
        let message = LossSum::from_bytes(&newer).unwrap_err().to_string();
        assert_eq!(message, "data has version 2 of the bytes of a LossSum, expected 1");
        assert!(LossSum::from_bytes(&[&bytes[..], b"."].concat()).is_err());
    }

    #[test]
    fn limbs_that_no_sum_has_are_refused() {
        let mut forged = LossSum::new(String::new());
        (forged.loss.limbs, forged.loss.low) = (vec![1], LIMBS - 1);
        assert!(LossSum::from_bytes(&forged.to_bytes()).is_err());
    }

    #[test]
    fn unlike_sums_do_not_merge() {
        let message = example().merge(&LossSum::new("mse".to_owned())).unwrap_err().to_string();
        assert_eq!(message, "sums of \"ce|ε\" and of \"mse\" do not merge");
    }
}
