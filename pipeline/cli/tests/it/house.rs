//! The structure of the project is the one that ARCHITECTURE.md draws: crates use those that it says, files of a crate import each
//! other in one direction, and every path that the docs name is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `crate -> crates it uses`, as the block of ARCHITECTURE.md after the words "uses" says.
fn drawn() -> BTreeMap<String, BTreeSet<String>> {
    let text = read("ARCHITECTURE.md");
    let block = text.split("```").find(|block| block.trim_start().starts_with("crate "));
    let lines = block.expect("ARCHITECTURE.md has a block `crate … uses`").trim().lines().skip(1);
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next().unwrap(), words.filter(|word| word != "-").collect())
        })
        .collect()
}

#[test]
fn crates_use_those_that_the_map_says() {
    for (folder, expected) in drawn() {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap();
        let lines = dependencies.lines().filter(|line| line.starts_with("tuwen"));
        let names = lines.map(|line| line.split(['.', ' ']).next().unwrap());
        // The crate `tuwen` lies in the folder `cli`.
        let found: BTreeSet<String> =
            names.map(|name| name.strip_prefix("tuwen-").unwrap_or("cli").to_owned()).collect();
        assert_eq!(found, expected, "{folder}/Cargo.toml beside ARCHITECTURE.md");
    }
}

#[test]
fn files_import_each_other_in_one_direction() {
    for folder in drawn().keys() {
        let imports = imports(&root().join(folder).join("src"));
        for file in imports.keys() {
            let mut path = vec![file.as_str()];
            assert!(!is_circle(&imports, &mut path), "{folder}: {}", path.join(" -> "));
        }
    }
}

#[test]
fn the_docs_name_files_that_are_there() {
    let files = files(&root());
    for doc in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "README.zh-CN.md"] {
        let text = read(doc);
        for name in text.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs")) {
            let is_there = files.iter().any(|file| file.ends_with(name));
            assert!(is_there, "{doc} names `{name}`, which is not there");
        }
    }
}

/// Depth first from the last of `path`, which holds the circle if there is one back to its first.
fn is_circle<'a>(imports: &'a BTreeMap<String, BTreeSet<String>>, path: &mut Vec<&'a str>) -> bool {
    let mut seen = BTreeSet::new();
    search(imports, path, &mut seen)
}

fn search<'a>(
    imports: &'a BTreeMap<String, BTreeSet<String>>,
    path: &mut Vec<&'a str>,
    seen: &mut BTreeSet<&'a str>,
) -> bool {
    for next in imports.get(*path.last().unwrap()).into_iter().flatten() {
        if next == path[0] {
            path.push(next);
            return true;
        }
        if seen.insert(next) {
            path.push(next);
            if search(imports, path, seen) {
                return true;
            }
            path.pop();
        }
    }
    false
}

/// Module path (`""` is the crate's root) of each file below `src`, with those it imports from. A module's re-exports of its own
/// children, and tests, are left out.
fn imports(src: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeMap<String, PathBuf> = files(src)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .filter(|file| !file.components().any(|part| part.as_os_str() == "tests"))
        .map(|file| {
            let name = file.strip_prefix(src).unwrap().with_extension("");
            let parts = name.iter().map(|part| part.to_str().unwrap());
            let parts: Vec<&str> =
                parts.filter(|part| !["mod", "lib", "main", "tests"].contains(part)).collect();
            (parts.join("::"), file)
        })
        .collect();
    let mut imports = BTreeMap::new();
    for (module, file) in &modules {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code.lines().map(|line| line.split("//").next().unwrap());
        let code = lines.collect::<Vec<_>>().join(" ");
        let mut found = BTreeSet::new();
        for (is_public, path) in used_paths(&code, module) {
            let mut path = path.as_str();
            // The longest prefix that is a file.
            while !modules.contains_key(path) {
                path = path.rsplit_once("::").map_or("", |(parent, _)| parent);
            }
            let is_child = module.is_empty() || path.starts_with(&format!("{module}::"));
            if path != module && !(is_public && is_child) {
                found.insert(path.to_owned());
            }
        }
        // What a crate's root re-exports is its children's; who imports it from there imports the root.
        imports.insert(module.clone(), if module.is_empty() { BTreeSet::new() } else { found });
    }
    imports
}

/// Absolute paths in `use crate::…`, `use super::…` and `use self::…`, with whether the use is public; and the same in code.
fn used_paths(code: &str, module: &str) -> Vec<(bool, String)> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].trim_end();
        let is_public = before.ends_with("pub") || before.ends_with(')');
        let tree: String = code[at + 4..].split(';').next().unwrap().split_whitespace().collect();
        let relative = tree.starts_with("super::") || tree.starts_with("self::");
        if relative || tree.starts_with("crate::") {
            let expanded = expand(&tree).into_iter().map(|path| absolute(&path, module));
            paths.extend(expanded.map(|path| (is_public, path)));
        }
    }
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let is_path = |c: char| c.is_ascii_lowercase() || c == '_' || c == ':';
            let path: String = code[at..].chars().take_while(|&c| is_path(c)).collect();
            if !code[..at].ends_with("::") && !code[..at].trim_end().ends_with("use") {
                paths.push((false, absolute(path.trim_end_matches(':'), module)));
            }
        }
    }
    paths
}

/// `a::{b, c::{d}}` as `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in rest.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                parts.last_mut().unwrap().push(c);
            }
        }
    }
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.flat_map(|part| expand(&format!("{prefix}{part}"))).collect()
}

fn absolute(path: &str, module: &str) -> String {
    let mut base: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut parts = path.split("::").peekable();
    while let Some(part) = parts.peek() {
        match *part {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        parts.next();
    }
    base.into_iter().chain(parts).collect::<Vec<_>>().join("::")
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files(&path));
            }
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn circles_are_found() {
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("lib.rs", "mod a; mod b; pub use crate::a::A;");
    write("a.rs", "use crate::{b::{B, C}, D};\npub struct A;");
    write("b.rs", "fn f() -> super::a::A {}\n#[cfg(test)]\nmod tests { use crate::c; }");
    let imports = imports(folder.path());
    assert_eq!(imports["a"], ["", "b"].map(str::to_owned).into());
    assert_eq!(imports["b"], ["a".to_owned()].into());
    let mut path = vec!["a"];
    assert!(is_circle(&imports, &mut path));
    assert_eq!(path, ["a", "b", "a"]);
}
