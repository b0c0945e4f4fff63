#![doc = "x"]
pub mod decoding;
pub mod error;
pub mod float;
pub mod input;
pub mod loss;
pub mod losses;
pub mod parallel;
#[cfg(feature = "python")]
mod python;
pub mod reduction;
pub mod simd;
pub mod text;
