//! Sums without rounding: the same bits in any order, split, number of threads or number of machines.
//!
//! An [`Exact`] is a fixed-point number so wide that it holds every float64, and every product of two, to the last bit
//! (the small superaccumulator of Neal, 2015, <https://arxiv.org/abs/1505.05571>). Its limbs are 32 bits apart and 64 bits
//! wide, so that some thousand additions need no carry. Adding is adding integers, which has no order; what is read at the
//! end is rounded once, half to even, which is the result of Python's `math.fsum`. A [`LossSum`] is such a sum with what
//! belongs to it, and bytes to send.
//!
//! The crate `xsum` holds the same accumulator, but not products, no counts of what is not finite, and no bytes.

mod state;
mod update;

pub use state::LossSum;
pub use update::Terms;

/// The weight of a limb is 2³² times that of the one before; the first one's is 2^BASE, below the smallest product of two
/// float64 (2^−2148), and such that the bits of a float64 with the biased exponent E begin at bit E + SINGLE.
const BASE: i32 = -(1075 + SINGLE as i32);
const SINGLE: u64 = 34 * 32;
/// The largest product is 2^2048; beyond it there is room for 2^64 of them, and more.
const LIMBS: usize = 136;
/// Limbs that are made on either side of those that are needed, because what is added is of about the same size.
const MARGIN: usize = 2;
/// Additions between two carries. One adds less than 2^52 to a limb, and a carried limb is smaller than that.
const ROOM: u32 = 2000;

const HIDDEN: u64 = 1 << 52;
const FRACTION: u64 = HIDDEN - 1;

/// A sum of float64, exactly.
#[derive(Debug, Clone)]
pub struct Exact {
    /// The limbs that may differ from 0, which are few: terms are of about the same size.
    limbs: Vec<i64>,
    /// The place of the first of them.
    low: usize,
    /// How many additions there may be before the next carry.
    room: u32,
    /// Terms that are no finite numbers: NaN, ∞, −∞.
    special: [u64; 3],
}

impl Default for Exact {
    fn default() -> Self {
        Self { limbs: vec![], low: 0, room: ROOM, special: [0; 3] }
    }
}

/// A finite number as an integer below 2^53 and its biased exponent, at least 1; the last is 0, or −1 for a negative one.
fn parts(value: f64) -> (u64, u64, i64) {
    let bits = value.to_bits();
    let exponent = (bits >> 52) & 0x7ff;
    let hidden = if exponent == 0 { 0 } else { HIDDEN };
    ((bits & FRACTION) | hidden, exponent.max(1), bits.cast_signed() >> 63)
}

impl Exact {
    /// 0
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let bits = value.to_bits();
        let exponent = (bits >> 52) & 0x7ff;
        // Neither 0 or subnormal, nor ∞ or NaN. Here and below, what is rare is elsewhere: losses call this for every term.
        if exponent.wrapping_sub(1) >= 0x7fe {
            self.add_rare(value);
            return;
        }
        let (integer, sign) = ((bits & FRACTION) | HIDDEN, bits.cast_signed() >> 63);
        self.add_parts(integer, exponent, sign);
    }

    #[inline]
    fn add_parts(&mut self, integer: u64, exponent: u64, sign: i64) {
        let (place, shift) = (((exponent + SINGLE) / 32) as usize, exponent % 32);
        let (low, high) = ((integer << shift) & 0xffff_ffff, integer >> (32 - shift));
        let limbs = self.limbs(place, 2);
        // −x is ¬x + 1.
        limbs[0] += (low.cast_signed() ^ sign) - sign;
        limbs[1] += (high.cast_signed() ^ sign) - sign;
        self.added();
    }

    #[cold]
    fn add_rare(&mut self, value: f64) {
        if value.is_finite() {
            let (integer, exponent, sign) = parts(value);
            self.add_parts(integer, exponent, sign);
        } else {
            self.add_special(value);
        }
    }

    /// Adds the product of two numbers, as it would be without rounding and without limits.
    pub fn add_product(&mut self, a: f64, b: f64) {
        if !(a.is_finite() && b.is_finite()) {
            self.add_special(a * b);
            return;
        }
        let ((first, first_exponent, first_sign), (second, second_exponent, second_sign)) = (parts(a), parts(b));
        let (product, sign) = (u128::from(first) * u128::from(second), first_sign ^ second_sign);
        // The exponents are those of the last bits plus 1075 each.
        let bit = first_exponent + second_exponent + SINGLE - 1075;
        let (place, shift) = ((bit / 32) as usize, bit % 32);
        let limbs = self.limbs(place, 5);
        for (half, place) in [(product & u128::from(u64::MAX), 0), (product >> 64, 2)] {
            let mut rest = half << shift;
            for limb in &mut limbs[place..place + 3] {
                *limb += ((rest & 0xffff_ffff) as i64 ^ sign) - sign;
                rest >>= 32;
            }
        }
        self.added();
    }

    /// The limbs from `place` on.
    #[inline]
    fn limbs(&mut self, place: usize, count: usize) -> &mut [i64] {
        if place < self.low || place + count > self.low + self.limbs.len() {
            self.widen(place, place + count);
        }
        &mut self.limbs[place - self.low..][..count]
    }

    #[cold]
    fn widen(&mut self, low: usize, high: usize) {
        let (mut low, mut high) = (low.saturating_sub(MARGIN), high + MARGIN);
        if self.limbs.is_empty() {
            self.low = low;
        }
        (low, high) = (low.min(self.low), high.max(self.low + self.limbs.len()));
        let mut limbs = Vec::with_capacity(high - low);
        limbs.resize(self.low - low, 0);
        limbs.append(&mut self.limbs);
        limbs.resize(high - low, 0);
        (self.limbs, self.low) = (limbs, low);
    }

    /// Must be called after each addition.
    #[inline]
    fn added(&mut self) {
        self.room -= 1;
        if self.room == 0 {
            self.carry();
        }
    }

    fn add_special(&mut self, value: f64) {
        let which = if value.is_nan() { 0 } else { 1 + usize::from(value < 0.0) };
        self.special[which] = self.special[which].saturating_add(1);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        // What the other has done since its last carry, and a carried limb, which counts as an addition.
        let additions = ROOM - other.room + 1;
        if additions >= self.room {
            self.carry();
        }
        if !other.limbs.is_empty() {
            let limbs = self.limbs(other.low, other.limbs.len());
            limbs.iter_mut().zip(&other.limbs).for_each(|(limb, other_limb)| *limb += other_limb);
        }
        for (count, other_count) in self.special.iter_mut().zip(other.special) {
            *count = count.saturating_add(other_count);
        }
        self.room -= additions;
        if self.room == 0 {
            self.carry();
        }
    }

    /// The sum, rounded to the nearest float64, and to the even one of two; without the sign of a zero. It is ±∞ where it
    /// is too large, or where terms are; NaN where one is, or where there are infinities of both signs.
    pub fn value(&self) -> f64 {
        self.clone().rounded()
    }

    /// The same; what stays is 0.
    pub fn take(&mut self) -> f64 {
        let value = self.rounded();
        self.clear();
        value
    }

    /// Makes it 0.
    pub fn clear(&mut self) {
        // What is added next is of about the same size, so the limbs stay.
        self.limbs.fill(0);
        (self.room, self.special) = (ROOM, [0; 3]);
    }

    /// What stays is of no use.
    fn rounded(&mut self) -> f64 {
        match self.special {
            [0, 0, 0] => self.round(),
            [0, _, 0] => f64::INFINITY,
            [0, 0, _] => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }

    /// This sum over another, rounded as if neither had been. Like their values it is 0 or ±∞ where it is too small or too
    /// large for a normal number.
    pub fn over(&self, divisor: &Self) -> f64 {
        let mut quotient = self.value() / divisor.value();
        if !quotient.is_normal() {
            return quotient;
        }
        let mut rest = divisor.clone();
        let parts: Vec<f64> = std::iter::from_fn(|| {
            let part = rest.value();
            rest.add(-part);
            (part != 0.0).then_some(part)
        })
        .collect();
        // Three roundings may have led past the middle between two numbers, which twice the sum is compared with.
        let is_nearer = |quotient: f64, next: f64| {
            let mut distance = self.clone();
            distance.merge(self);
            for part in &parts {
                distance.add_product(-quotient, *part);
                distance.add_product(-next, *part);
            }
            let beyond = distance.sign() * if (next > quotient) == (parts[0] > 0.0) { 1 } else { -1 };
            next.is_finite() && (beyond > 0 || (beyond == 0 && quotient.to_bits() % 2 == 1))
        };
        while let Some(next) = [quotient.next_up(), quotient.next_down()].into_iter().find(|x| is_nearer(quotient, *x))
        {
            quotient = next;
        }
        quotient
    }

    /// How many terms are NaN, ∞, −∞.
    pub fn special(&self) -> [u64; 3] {
        self.special
    }

    /// Brings every limb into −2^31..2^31. The limbs of a number then are the only ones.
    fn carry(&mut self) {
        self.room = ROOM;
        let mut carry = 0;
        for limb in &mut self.limbs {
            carry = carried(limb, carry);
        }
        while carry != 0 {
            let mut limb = 0;
            carry = carried(&mut limb, carry);
            self.limbs.push(limb);
        }
    }

    /// The place of the first limb that is not 0, and the limbs from it to the last such, once they are carried.
    fn used(&self) -> (usize, &[i64]) {
        let is_used = |limb: &i64| *limb != 0;
        match (self.limbs.iter().position(is_used), self.limbs.iter().rposition(is_used)) {
            (Some(first), Some(last)) => (self.low + first, &self.limbs[first..=last]),
            _ => (0, &[]),
        }
    }

    /// −1, 0 or 1: the sign of a number is that of its highest limb.
    fn sign(&mut self) -> i64 {
        self.carry();
        self.limbs.iter().rfind(|limb| **limb != 0).map_or(0, |limb| limb.signum())
    }

    fn round(&mut self) -> f64 {
        let negative = match self.sign() {
            0 => return 0.0,
            sign => sign < 0,
        };
        let limbs = &mut self.limbs;
        let mut borrow = 0;
        for limb in &mut *limbs {
            let digit = borrow + if negative { -*limb } else { *limb };
            borrow = digit >> 32;
            *limb = digit & 0xffff_ffff;
        }
        let top = limbs.iter().rposition(|limb| *limb != 0).expect("a number that is not 0 has a digit");
        let first = top.saturating_sub(3);
        let digits = limbs[first..=top].iter().rev().fold(0u128, |digits, limb| digits << 32 | *limb as u128);
        let lost = limbs[..first].iter().any(|limb| *limb != 0);
        let magnitude = rounded(digits, BASE + 32 * (self.low + first) as i32, lost);
        if negative { -magnitude } else { magnitude }
    }
}

/// Adds a carry to a limb, and takes out what goes on to the next one.
fn carried(limb: &mut i64, carry: i64) -> i64 {
    let sum = *limb + carry;
    let next = (sum + (1 << 31)) >> 32;
    *limb = sum - (next << 32);
    next
}

/// The float64 nearest to `digits` times 2^`exponent`, if something smaller was `lost` behind them.
fn rounded(digits: u128, exponent: i32, lost: bool) -> f64 {
    let leading = exponent + 127 - digits.leading_zeros() as i32;
    if leading > 1023 {
        return f64::INFINITY;
    }
    // The exponent of the last bit that can stay.
    let last = (leading - 52).max(-1074);
    let shift = last - exponent;
    let kept = if shift <= 0 {
        (digits << -shift) as u64
    } else {
        // What is more than 128 bits too small is less than half of the last bit.
        let kept = digits.checked_shr(shift as u32).unwrap_or(0) as u64;
        let half = digits.checked_shr(shift as u32 - 1).unwrap_or(0) & 1 == 1;
        let below = digits.trailing_zeros() < shift as u32 - 1;
        kept + u64::from(half && (lost || below || kept % 2 == 1))
    };
    // 2^last, exactly; so is the product, unless it is too large.
    let power = if last < -1022 { 1 << (last + 1074) } else { ((last + 1023) as u64) << 52 };
    kept as f64 * f64::from_bits(power)
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        let (mut own, mut others) = (self.clone(), other.clone());
        own.carry();
        others.carry();
        own.used() == others.used() && own.special == others.special
    }
}

impl FromIterator<f64> for Exact {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sum = Self::new();
        values.into_iter().for_each(|value| sum.add(value));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits without a pattern (Steele et al., 2014, <https://doi.org/10.1145/2714064.2660195>).
    fn bits(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An integer of at most 53 bits, of either sign.
    fn integer(seed: &mut u64) -> i64 {
        let size = 11 + bits(seed) % 53;
        bits(seed).cast_signed() >> size
    }

    fn power(exponent: i32) -> f64 {
        2f64.powi(exponent)
    }

    #[test]
    fn sums_are_those_of_integers() {
        let mut seed = 1;
        for case in 0..300 {
            let scale = (bits(&mut seed) % 1800) as i32 - 900;
            let mut truth = 0i128;
            let mut sum = Exact::new();
            for _ in 0..bits(&mut seed) % 5000 {
                let (integer, shift) = (integer(&mut seed), (bits(&mut seed) % 60) as i32);
                truth += i128::from(integer) << shift;
                sum.add(integer as f64 * power(shift) * power(scale));
            }
            assert_eq!(sum.value(), truth as f64 * power(scale), "case {case}");
        }
    }

    #[test]
    fn sums_of_products_are_those_of_integers() {
        let mut seed = 2;
        for case in 0..300 {
            let scales = [(); 2].map(|()| (bits(&mut seed) % 900) as i32 - 450);
            let mut truth = 0i128;
            let mut sum = Exact::new();
            for _ in 0..bits(&mut seed) % 5000 {
                let (a, b) = (integer(&mut seed), integer(&mut seed));
                truth += i128::from(a) * i128::from(b);
                sum.add_product(a as f64 * power(scales[0]), b as f64 * power(scales[1]));
            }
            assert_eq!(sum.value(), truth as f64 * power(scales[0] + scales[1]), "case {case}");
        }
    }

    #[test]
    fn one_number_comes_out_as_it_went_in() {
        let mut seed = 3;
        let edges = [0.0, f64::MIN_POSITIVE, f64::MAX, f64::MIN, f64::from_bits(1), -f64::from_bits(FRACTION), 1.0];
        let random = std::iter::repeat_with(|| f64::from_bits(bits(&mut seed))).take(20_000);
        for value in random.chain(edges).filter(|value| value.is_finite()) {
            let mut sum = Exact::new();
            sum.add(value);
            assert_eq!(sum.value(), value);
            sum.add_product(-value, 1.0);
            assert_eq!(sum, Exact::new());
            assert_eq!(sum.take(), 0.0);
        }
    }

    #[test]
    fn ties_go_to_even_and_what_is_lost_breaks_them() {
        let tiny = f64::from_bits(1);
        for (terms, truth) in [
            (&[1.0, power(-53)][..], 1.0),
            (&[1.0, power(-53), tiny], 1.0 + power(-52)),
            (&[1.0, power(-53), -tiny], 1.0),
            (&[1.0 + power(-52), power(-53)], 1.0 + power(-51)),
            (&[-1.0, -power(-53), -tiny], -1.0 - power(-52)),
            (&[1e308, 1e308, -1e308], 1e308),
            (&[f64::MAX, f64::MAX], f64::INFINITY),
            (&[f64::MAX, power(970)], f64::INFINITY),
            (&[f64::MAX, power(969)], f64::MAX),
            (&[f64::MIN, f64::MIN], f64::NEG_INFINITY),
            (&[1.0, 1e100, 1.0, -1e100], 2.0),
            (&[-0.0], 0.0),
            (&[], 0.0),
            (&[f64::INFINITY, 1.0], f64::INFINITY),
            (&[f64::NEG_INFINITY, f64::MAX], f64::NEG_INFINITY),
        ] {
            let sum: Exact = terms.iter().copied().collect();
            assert_eq!(sum.value().to_bits(), truth.to_bits(), "{terms:?}");
        }
        for terms in [[f64::INFINITY, f64::NEG_INFINITY], [f64::NAN, 1.0]] {
            assert!(terms.into_iter().collect::<Exact>().value().is_nan());
        }
    }

    #[test]
    fn products_are_not_rounded_before_they_are_added() {
        let tiny = f64::from_bits(1);
        let mut sum = Exact::new();
        // Half of the smallest number, less 2^−2148: below a tie.
        sum.add_product(tiny, 0.5);
        sum.add_product(tiny, -tiny);
        assert_eq!(sum.value(), 0.0);
        sum.add_product(tiny, tiny);
        sum.add_product(tiny, tiny);
        assert_eq!(sum.value(), tiny);
        // Too large a product, and back.
        sum.add_product(f64::MAX, f64::MAX);
        assert_eq!(sum.value(), f64::INFINITY);
        sum.add_product(-f64::MAX, f64::MAX);
        assert_eq!(sum.take(), tiny);
        sum.add_product(0.0, f64::INFINITY);
        sum.add_product(-1.0, f64::INFINITY);
        assert_eq!(sum.special(), [1, 0, 1]);
    }

    #[test]
    fn any_order_and_any_split_is_the_same_sum() {
        let mut seed = 4;
        let finite = std::iter::repeat_with(|| f64::from_bits(bits(&mut seed))).filter(|value| value.is_finite());
        let values: Vec<f64> = finite.take(30_000).collect();
        let whole: Exact = values.iter().copied().collect();
        for size in [1, 7, 1999, 2000, 2001, 8191] {
            let mut sum = Exact::new();
            for part in values.chunks(size).rev() {
                sum.merge(&part.iter().rev().copied().collect());
            }
            assert_eq!(sum, whole);
            assert_eq!(sum.value().to_bits(), whole.value().to_bits());
        }
    }

    #[test]
    fn the_extremes_of_limbs_do_not_overflow() {
        // A shift of 31 puts most into the upper limb.
        let value = f64::MAX;
        assert_eq!(parts(value).1 % 32, 30);
        let value = value / 2f64.powi(31);
        assert_eq!(parts(value).1 % 32, 31);
        let mut part = Exact::new();
        (0..1999).for_each(|_| part.add(-value));
        let mut sum = part.clone();
        for _ in 1..5000 {
            sum.merge(&part);
        }
        let mut truth = Exact::new();
        truth.add_product(value, -1999.0 * 5000.0);
        assert_eq!(sum, truth);
        assert_eq!(sum.value(), value * (-1999.0 * 5000.0));
    }
}
