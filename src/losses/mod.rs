//! One file a loss.

pub mod advantages;
pub mod cross_entropy;
pub mod ctc;
pub mod curves;
pub mod expected;
pub mod expected_matches;
pub mod logits;
pub mod pointwise;
pub mod policy_gradient;
pub mod policy_ratio;
pub mod policy_sets;
pub mod policy_terms;
pub mod reinforce;
pub mod soft_alignment;

/// What the first argument of a loss holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scores {
    /// Unnormalised: the softmax is inside the loss.
    Logits,
    /// Logarithms of probabilities, taken as they are.
    LogProbs,
    /// Probabilities, taken as they are.
    Probs,
}

impl Scores {
    /// Reads the word, which must be one of `choices`.
    pub fn new(word: &str, choices: &'static [&'static str]) -> Result<Self, crate::error::Error> {
        if !choices.contains(&word) {
            let value = word.to_owned();
            return Err(crate::error::Error::Choice { argument: "scores", value, choices });
        }
        Ok(match word {
            "log_probs" => Self::LogProbs,
            "probs" => Self::Probs,
            _ => Self::Logits,
        })
    }
}
