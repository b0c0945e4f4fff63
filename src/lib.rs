//! Losses for sequences, on the CPU.
//!
//! Cross-entropy, mean squared and absolute error, CTC, BLEU, ROUGE and REINFORCE, each with its gradient where one
//! exists, on as many threads as pay, with vectors as wide as the processor has. The crate is plain Rust; the feature
//! `python` adds the border to NumPy, which is how most people use it.
//!
//! # The house
//!
//! The modules in the order in which they depend on one another, which is also the road of an array:
//!
//! | module | what it is |
//! |---|---|
//! | [`error`] | every way in which an input can be wrong: one enum, one sentence each |
//! | [`simd`] | rows of numbers: exp, ln, maxima, sums, mantissa and exponent; the one place that asks the processor |
//! | [`float`] | the numbers that arrays hold, and the numbers that kernels compute with |
//! | [`input`] | arrays on their way in: to hold one of these types is to have checked it |
//! | [`parallel`] | the one place that makes threads; what happens after a fork, and how work is stopped |
//! | [`exact`] | sums without rounding, and [`exact::LossSum`], which merges |
//! | [`reduction`] | none, sequence, sum, mean: one meaning for all losses |
//! | [`mod@loss`] | what a loss is (`trait Loss`), and `evaluate`: pieces on the pool, their terms in exact sums |
//! | `trellis` | the sum over all paths of an alignment, and the posterior of every state |
//! | [`text`] | from strings or token ids to statistics that add up, and from statistics to scores |
//! | [`losses`] | what is computed: one file a loss |
//! | [`decoding`] | from the scores of frames to labels |
//! | `python` | the border: nothing outside of it knows that Python exists |
//!
//! # The road of one array
//!
//! ```text
//! np.ndarray ─ losses.py ─▶ python/arguments.rs ─▶ input.rs ─▶ python/answer.rs ─▶ python/mod.rs enter ─▶ loss.rs
//!              names,        where it lies:         checked      room for results    the GIL is released    pieces
//!              defaults      View                   sequences                        Ctrl-C, panics            │
//!                                                                                                              ▼
//! np.ndarray ◀─ python/answer.rs ◀─ reduction.rs ◀─ exact/: sums of terms ◀─ losses/ctc.rs ◀─ parallel.rs, simd/
//! ```
//!
//! # What is promised
//!
//! * The same bits for any number of threads, any split of the batch, padded or ragged, and on every instruction set with
//!   fused multiply-add.
//! * No unsafe code but in two files of the border, which say why.
//! * What is masked or lies beyond a length is never read.
//!
//! # Example
//!
//! ```
//! use seqloss_rs::input::{Argument, Axes, Integers, Labels, Sequences, View};
//! use seqloss_rs::loss::{Outputs, evaluate};
//! use seqloss_rs::losses::{Scores, ctc::{Ctc, Options}};
//! use seqloss_rs::parallel::Watch;
//! use seqloss_rs::reduction::{NUMERIC, Reduced, Reducer};
//!
//! // Two frames over {blank, a}: three of the four paths give "a".
//! let logits = [0.0f64; 4];
//! let view = View::contiguous(&logits, vec![1, 2, 2]).unwrap();
//! let sequences = Sequences::new("logits", &Argument::Array(view), Axes::StepsOfRows, false)?;
//! let targets = Argument::Array(Integers { values: vec![1], shape: vec![1, 1] });
//! let labels = Labels::new(&targets, None, &sequences.structure, 2, 0)?;
//! let loss = Ctc::new(sequences, labels, 0, Scores::Logits, Options::default())?;
//! let outputs = Outputs { values: None, gradient: None };
//! let value = evaluate(&loss, &Reducer::new("sum", NUMERIC, None)?, outputs, &Watch::never())?;
//! let Reduced::Number(value) = value else { unreachable!() };
//! assert!((value + 0.75f64.ln()).abs() < 1e-15);
//! # Ok::<(), seqloss_rs::error::Error>(())
//! ```

pub mod decoding;
pub mod error;
pub mod exact;
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
mod trellis;
