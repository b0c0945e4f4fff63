//! Rows of numbers, as wide as the processor allows.
//!
//! Every routine is written once, over vectors of 16 virtual lanes, and compiled for each instruction set; which of
//! them runs is decided here and nowhere else. All sets with fused multiply-add (AVX2, AVX-512, NEON) give the same
//! bits, because lanes, order and roundings are the same; the baseline set has no such instruction and may differ in the
//! last place.

pub mod across;
mod aligned;
pub mod elementary;
mod lanes;
pub mod math;
pub mod rows;
pub mod scaled;
pub mod softmax;
mod stored;

use std::sync::OnceLock;

use fearless_simd::Level;

pub use aligned::Aligned;
pub use lanes::{Lanes, transposed};
pub use stored::{Half, Stored, round_in, widen_in};

/// The variable that forces a level down.
pub const VARIABLE: &str = "SEQLOSS_SIMD";

/// The levels that can be asked for.
const LEVELS: [&str; 3] = ["baseline", "avx2", "avx512"];

/// The instruction set in use: the best that the processor has, or a lower one that `SEQLOSS_SIMD` names.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| choose(Level::new(), std::env::var(VARIABLE).ok().as_deref()))
}

/// The name of the instruction set in use.
pub fn name() -> &'static str {
    describe(level())
}

/// A sentence about a level that does not exist.
pub fn complaint() -> Option<String> {
    let is_unknown = |wanted: &String| !wanted.is_empty() && !LEVELS.contains(&wanted.as_str());
    let wanted = std::env::var(VARIABLE).ok().filter(is_unknown)?;
    Some(format!("{VARIABLE} is \"{wanted}\", expected one of {}; it is ignored", LEVELS.join(", ")))
}

/// `SEQLOSS_SIMD` forces down, never up: a level that the processor lacks is passed over.
fn choose(best: Level, wanted: Option<&str>) -> Level {
    match wanted {
        Some("baseline") => Level::baseline(),
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Some("avx2") => best.as_avx2().map_or(best, Level::Avx2),
        _ => best,
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn describe(level: Level) -> &'static str {
    match level {
        Level::Avx512(_) => "avx512",
        Level::Avx2(_) => "avx2",
        _ => "baseline",
    }
}

#[cfg(target_arch = "aarch64")]
fn describe(_: Level) -> &'static str {
    "neon"
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn describe(_: Level) -> &'static str {
    "baseline"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_forced_down_and_never_up() {
        assert_eq!(describe(choose(Level::new(), Some("baseline"))), describe(Level::baseline()));
        assert_eq!(describe(choose(Level::baseline(), Some("avx2"))), describe(Level::baseline()));
        assert_eq!(describe(choose(Level::new(), None)), describe(Level::new()));
    }
}
