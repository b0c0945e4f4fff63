//! From the scores of frames to labels.

mod greedy;

pub use greedy::greedy;
