//! The order of `src/lib.rs` holds: a module names only modules listed above it, and nothing below the line touches the
//! world.
//!
//! The test reads source text, not the compiler's mind: comments are cut away, then every path that begins with
//! `crate::`, and every `super::` that climbs out of its module, is looked at.

use std::path::{Path, PathBuf};

/// The first module above the line; those listed before it know no tokio, no files, no clock, no printing.
const FIRST_ABOVE_THE_LINE: &str = "world";

/// What nothing below the line may say.
const OUTSIDE_WORLD: &[&str] = &["tokio", "std::fs", "SystemTime", "Instant::now", "println!"];

/// The one exception, and why: a configuration comes from a file, and this is where that is read.
const READS_FILES: (&str, &str) = ("src/config/load.rs", "std::fs");

/// A source file without its comments.
struct Source {
    /// Its path from the package's root.
    path: PathBuf,
    /// Its text.
    code: String,
    /// How many `super::` lead from its top to the crate's root.
    depth: usize,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The modules of `src/lib.rs`, bottom-up.
fn modules() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs is there");
    let named = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_string());
    text.lines().filter_map(named).collect()
}

/// The files of a module: `src/name.rs`, or all of `src/name/`.
fn sources(module: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let single = root().join("src").join(format!("{module}.rs"));
    if single.exists() {
        found.push(source(single, 1));
    }
    collect(&root().join("src").join(module), 1, &mut found);
    assert!(!found.is_empty(), "src/lib.rs lists {module}, which has no file");
    found
}

/// Collects the files of a folder that lies `depth` modules deep.
fn collect(folder: &Path, depth: usize, found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            collect(&path, depth + 1, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let own = usize::from(path.file_name().is_some_and(|name| name != "mod.rs"));
            found.push(source(path, depth + own));
        }
    }
}

fn source(path: PathBuf, depth: usize) -> Source {
    let text = std::fs::read_to_string(&path).expect("a source file is readable");
    let path = path.strip_prefix(root()).expect("it lies in the package").to_path_buf();
    Source { path, code: without_comments(&text), depth }
}

/// The code alone. `//` inside a text (an address, say) cuts that line short, which hides no path
/// anyone would write there.
fn without_comments(text: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_string() + "\n";
    text.lines().map(code).collect()
}

/// The modules that paths beginning with `crate::` name, `crate::{a, b::c}` included.
fn named(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '_' {
            continue;
        }
        let path = &code[at + "crate::".len()..];
        match path.strip_prefix('{') {
            Some(group) => names.extend(heads(group)),
            None => names.push(head(path)),
        }
    }
    names
}

/// The identifier a path begins with.
fn head(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The identifiers with which the paths of a brace group begin, up to the brace that closes it.
fn heads(group: &str) -> Vec<String> {
    let (mut names, mut nesting, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => nesting += 1,
            '}' if nesting > 0 => nesting -= 1,
            ',' | '}' if nesting == 0 => {
                names.push(head(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The longest run of `super::` in a line, and whether the line lies in a module within the file (in this code, tests).
fn climbs(code: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut inside = 0;
    code.lines().map(move |line| {
        let words = line.trim_start().trim_start_matches("pub ");
        if words.starts_with("mod ") && words.trim_end().ends_with('{') {
            inside = 1;
        }
        let run = (1..).take_while(|length| line.contains(&"super::".repeat(*length))).count();
        (run, inside)
    })
}

/// DESIGN §8: "a module names only modules listed above it".
#[test]
fn a_module_names_only_modules_listed_above_it() {
    let modules = modules();
    let mut faults = Vec::new();
    for (at, module) in modules.iter().enumerate() {
        for source in sources(module) {
            for name in named(&source.code) {
                if !modules[..=at].contains(&name) {
                    faults.push(format!("{} names crate::{name}", source.path.display()));
                }
            }
            if climbs(&source.code).any(|(run, inside)| run >= source.depth + inside) {
                faults.push(format!("{} climbs out of its module by super::", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "each may name only what src/lib.rs lists above it:\n{}", faults.join("\n"));
}

/// DESIGN §8: below the line there is no tokio, no file, no clock, no printing.
#[test]
fn below_the_line_nothing_touches_the_world() {
    let modules = modules();
    let line = modules.iter().position(|module| module == FIRST_ABOVE_THE_LINE).expect("storage is listed");
    let mut faults = Vec::new();
    for source in modules[..line].iter().flat_map(|module| sources(module)) {
        for word in OUTSIDE_WORLD.iter().filter(|word| source.code.contains(**word)) {
            if (source.path.as_path(), *word) != (Path::new(READS_FILES.0), READS_FILES.1) {
                faults.push(format!("{} says {word}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "below the line:\n{}", faults.join("\n"));
}

/// The ground the two tests stand on: every folder and file of `src` is listed, and the readers find what is there.
#[test]
fn the_map_is_whole_and_the_readers_read() {
    let modules = modules();
    for entry in std::fs::read_dir(root().join("src")).expect("src is there") {
        let path = entry.expect("src can be listed").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name in ASCII").to_string();
        assert!(modules.contains(&name) || ["lib", "main"].contains(&name.as_str()), "src/lib.rs does not list {name}");
    }
    let code = without_comments(
        "use crate::{ring::{a, b}, key, };\n// crate::no\nlet x = crate::peer::y; mycrate::no; $crate::node!()",
    );
    assert_eq!(named(&code), ["ring", "key", "peer", "node"]);
    let climbing: Vec<_> = climbs("use super::a;\nmod tests {\nuse super::super::b;").collect();
    assert_eq!(climbing, [(1, 0), (0, 1), (2, 1)]);
}
