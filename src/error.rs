//! Every way in which an input can be wrong, and the one sentence that says so: the argument, what came, what was expected.

use std::fmt;

/// What went wrong. The border turns it into a Python exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A number is not one of those that make sense: `targets[3, 7] is 32, which is not a class in 0..32`.
    Range {
        /// The argument with its index, as the caller would write it.
        argument: String,
        /// What came.
        value: i64,
        /// What it is not.
        expected: String,
    },
    /// A shape does not fit: `targets has shape (3, 4), expected (3, 5)`.
    Shape {
        /// The argument's name.
        argument: String,
        /// What came.
        actual: Vec<usize>,
        /// What was expected, in words or as a shape.
        expected: String,
    },
    /// A word is not one of the choices: `reduction is "avg", expected one of "none", "sum"`.
    Choice {
        /// The argument's name.
        argument: &'static str,
        /// What came.
        value: String,
        /// All that would have been right.
        choices: &'static [&'static str],
    },
    /// Another wrong value; the message names the argument.
    Value(String),
    /// A wrong type; the message names the argument.
    Type(String),
    /// An array of this many bytes could not be allocated.
    Memory(usize),
    /// The caller asked to stop; the computation is unfinished.
    Interrupted,
}

impl Error {
    /// An element of an integer argument that is out of range.
    #[cold]
    pub fn range(argument: &str, index: &[usize], value: i64, expected: impl Into<String>) -> Self {
        Self::Range { argument: subscript(argument, index), value, expected: expected.into() }
    }

    /// A shape that does not fit.
    #[cold]
    pub fn shape(argument: &str, actual: &[usize], expected: impl Into<String>) -> Self {
        Self::Shape { argument: argument.to_owned(), actual: actual.to_vec(), expected: expected.into() }
    }
}

/// `targets[3, 7]`: an element as the caller would write it.
pub fn subscript(argument: &str, index: &[usize]) -> String {
    if index.is_empty() {
        return argument.to_owned();
    }
    let index: Vec<String> = index.iter().map(ToString::to_string).collect();
    format!("{argument}[{}]", index.join(", "))
}

/// `(3, 5)`: a shape as Python writes it.
pub fn tuple(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { argument, value, expected } => {
                // Larger numbers of uint64 come as the largest one.
                let more = if *value == i64::MAX { " or more" } else { "" };
                write!(f, "{argument} is {value}{more}, which is not {expected}")
            }
            Self::Shape { argument, actual, expected } => {
                write!(f, "{argument} has shape {}, expected {expected}", tuple(actual))
            }
            Self::Choice { argument, value, choices } => {
                let choices: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
                write!(f, "{argument} is \"{value}\", expected one of {}", choices.join(", "))
            }
            Self::Value(message) | Self::Type(message) => f.write_str(message),
            Self::Memory(bytes) => write!(f, "cannot allocate {bytes} bytes of working memory"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_sentence_that_names_the_argument() {
        let error = Error::range("targets", &[3, 7], 32, "a class in 0..32");
        assert_eq!(error.to_string(), "targets[3, 7] is 32, which is not a class in 0..32");
        assert_eq!(Error::shape("mask", &[4], "(3, 4)").to_string(), "mask has shape (4,), expected (3, 4)");
        let error = Error::Choice { argument: "reduction", value: "avg".into(), choices: &["none", "sum"] };
        assert_eq!(error.to_string(), "reduction is \"avg\", expected one of \"none\", \"sum\"");
    }
}
