//! Tokenizers over the border, for those who want to see the tokens.

use pyo3::prelude::*;

use super::arguments::{flag, word};
use super::guarded;
use crate::error::Error;
use crate::text::tercom::Tercom;
use crate::text::tokenize::Tokenizer;

type Object<'py> = Bound<'py, PyAny>;

/// The tokens of a string, with a space between them.
#[pyfunction]
pub(super) fn tokenize(tokenizer: &Object<'_>, line: &Object<'_>) -> PyResult<String> {
    guarded(|| {
        let (name, line) = (word("tokenizer", tokenizer)?, word("line", line)?);
        let choice = || Error::Choice { argument: "tokenizer", value: name.to_string(), choices: Tokenizer::NAMES };
        let tokenizer = Tokenizer::named(&name).ok_or_else(choice)?;
        let mut tokens = vec![];
        tokenizer.tokens(&line, &mut |token| add(&mut tokens, token));
        Ok(joined(tokens))
    })
}

/// The same by the tokenizer of TER.
#[pyfunction]
pub(super) fn tokenize_tercom(
    normalized: &Object<'_>,
    no_punct: &Object<'_>,
    asian_support: &Object<'_>,
    case_sensitive: &Object<'_>,
    sent: &Object<'_>,
) -> PyResult<String> {
    guarded(|| {
        let tercom = Tercom {
            normalized: flag("normalized", normalized)?,
            no_punct: flag("no_punct", no_punct)?,
            asian_support: flag("asian_support", asian_support)?,
            case_sensitive: flag("case_sensitive", case_sensitive)?,
        };
        let mut tokens = vec![];
        tercom.tokens(&word("sent", sent)?, &mut vec![], |token| add(&mut tokens, token));
        Ok(joined(tokens))
    })
}

fn add(tokens: &mut Vec<u8>, token: &[u8]) {
    if !tokens.is_empty() {
        tokens.push(b' ');
    }
    tokens.extend_from_slice(token);
}

fn joined(tokens: Vec<u8>) -> String {
    String::from_utf8(tokens).expect("a text is cut between characters")
}
