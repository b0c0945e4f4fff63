//! The rules of the house that the compiler cannot keep.

use std::fs::{read_dir, read_to_string};
use std::path::Path;

/// The modules in the order in which they depend on one another: each may name those before it.
const ORDER: [&str; 13] = [
    "error",
    "simd",
    "float",
    "input",
    "parallel",
    "exact",
    "reduction",
    "loss",
    "trellis",
    "text",
    "losses",
    "decoding",
    "python",
];

/// Every file under `src/`, by its path from there.
fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, root: &Path, into: &mut Vec<(String, String)>) {
        for entry in read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                into.push((name, read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    collect(&root, &root, &mut files);
    files.sort();
    assert!(files.iter().any(|(name, _)| name == "lib.rs"), "src/lib.rs was not found");
    files
}

/// The lines of a file without their comments, from line 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().map(|line| line.split("//").next().unwrap()).enumerate().map(|(index, line)| (index + 1, line))
}

/// The places of a word that has no letter of a name on either side (unless the word brings its own border).
fn places<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = line[..at].ends_with(in_name) && word.starts_with(in_name);
        let after = line[at + word.len()..].starts_with(in_name) && word.ends_with(in_name);
        !(before || after)
    })
}

fn assert_only_in(word: &str, is_room: impl Fn(&str) -> bool, why: &str) {
    let mut is_there = false;
    for (file, text) in sources() {
        for (number, line) in code(&text) {
            let is_named = places(line, word).next().is_some();
            is_there |= is_named;
            assert!(!is_named || is_room(&file), "src/{file}:{number} names `{word}`: {why}");
        }
    }
    assert!(is_there, "`{word}` is not named anywhere: the rule about it watches nothing");
}

#[test]
fn threads_are_made_in_one_file() {
    assert_only_in("rayon", |file| file == "parallel.rs", "threads are made in src/parallel.rs only");
}

#[test]
fn kernels_never_see_python() {
    for word in ["pyo3", "numpy::"] {
        assert_only_in(word, |file| file.starts_with("python/"), "Python is seen in src/python/ only");
    }
}

#[test]
fn the_processor_is_asked_in_one_file() {
    let why = "the processor is asked in src/simd/mod.rs only, so that SEQLOSS_SIMD holds everywhere";
    assert_only_in("Level::new", |file| file == "simd/mod.rs", why);
    for (file, text) in sources() {
        assert!(!text.contains("is_x86_feature_detected") || file == "simd/mod.rs", "src/{file}: {why}");
    }
}

#[test]
fn unsafe_code_has_two_rooms_and_reasons() {
    let rooms = ["python/array.rs", "python/fork.rs"];
    assert_only_in("unsafe", |file| rooms.contains(&file), "unsafe code is in src/python/{array,fork}.rs only");
    for (file, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in code(&text) {
            let reason = &lines[number.saturating_sub(7)..number - 1];
            let is_told = reason.iter().any(|line| line.trim_start().starts_with("// SAFETY:"));
            let opens = places(line, "unsafe {").next().is_some();
            assert!(!opens || is_told, "src/{file}:{number} opens an unsafe block without a SAFETY comment above it");
        }
    }
}

#[test]
fn there_is_one_gate() {
    assert_only_in(".detach(", |file| file == "python/mod.rs", "all work passes the one gate in src/python/mod.rs");
    let (_, gate) = sources().into_iter().find(|(file, _)| file == "python/mod.rs").unwrap();
    let count: usize = code(&gate).map(|(_, line)| line.matches(".detach(").count()).sum();
    assert_eq!(count, 1, "src/python/mod.rs detaches from Python {count} times, expected one gate");
}

#[test]
fn functions_are_not_written_once_for_each_type() {
    for (file, text) in sources().iter().filter(|(file, _)| !file.starts_with("simd/") && file != "float.rs") {
        for (number, line) in code(text) {
            for at in places(line, "fn ") {
                let name = line[at + 3..].split(['(', '<']).next().unwrap();
                let has_type = ["_f16", "_bf16", "_f32", "_f64"].iter().any(|of_type| name.contains(of_type));
                assert!(!has_type, "src/{file}:{number}: `{name}` names an element type; be generic over it");
            }
        }
    }
}

#[test]
fn modules_depend_one_way() {
    for (file, text) in sources().iter().filter(|(file, _)| file != "lib.rs") {
        let module = file.split(['/', '.']).next().unwrap();
        let place = ORDER.iter().position(|&name| name == module);
        let place =
            place.unwrap_or_else(|| panic!("src/{file}: module `{module}` has no place in the order of modules"));
        for (number, line) in code(text) {
            for at in places(line, "crate::") {
                let rest = &line[at + "crate::".len()..];
                let named = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                let allowed = ORDER[..=place].contains(&named);
                assert!(allowed, "src/{file}:{number}: `{module}` comes before `{named}`, so it must not use it");
            }
        }
    }
}

#[test]
fn a_loss_starts_with_its_formula() {
    let sources = sources();
    let losses = sources.iter().filter(|(file, _)| file.starts_with("losses/") && file != "losses/mod.rs");
    for (file, text) in losses {
        let head: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let head = head.join("\n");
        assert!(head.contains('ℓ') && head.contains("∂ℓ/∂"), "src/{file} must start with the formulas of ℓ and ∂ℓ/∂x");
    }
}
