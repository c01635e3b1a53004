//! What comes with the project: the crates that Cargo.lock names keep to deny.toml. `cargo deny check licenses bans sources` reads the
//! same file; where it is not at hand, this is the gate.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

use crate::house::root;

/// deny.toml, as far as it says something that can be looked up without a network.
#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Named>,
    skip: Vec<Named>,
}

/// A crate (`name`), or one version of it (`name@version`), and why.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// What `cargo metadata` says.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

fn rules() -> Rules {
    toml::from_str(&std::fs::read_to_string(root().join("deny.toml")).unwrap()).unwrap()
}

/// The crates of a build for this system, in the order of their names and versions.
fn packages() -> Vec<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--offline"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]).current_dir(root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    let used: BTreeSet<String> = metadata.resolve.nodes.into_iter().map(|node| node.id).collect();
    let mut packages: Vec<Package> =
        metadata.packages.into_iter().filter(|package| used.contains(&package.id)).collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    packages
}

/// Whether an SPDX expression is met by the licences of `allow`: of an OR one side is enough, of an AND both are needed. A slash is
/// an OR of old.
fn is_met(expression: &str, allow: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (met, rest) = either(&words, allow);
    assert!(rest.is_empty(), "`{expression}` is no expression of SPDX");
    met
}

fn either<'a>(words: &'a [&'a str], allow: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = both(words, allow);
    while let ["OR", after @ ..] = rest {
        let (other, after) = both(after, allow);
        (met, rest) = (met | other, after);
    }
    (met, rest)
}

fn both<'a>(words: &'a [&'a str], allow: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = one(words, allow);
    while let ["AND", after @ ..] = rest {
        let (other, after) = one(after, allow);
        (met, rest) = (met & other, after);
    }
    (met, rest)
}

fn one<'a>(words: &'a [&'a str], allow: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inner @ ..] => {
            let (met, rest) = either(inner, allow);
            assert_eq!(rest.first(), Some(&")"));
            (met, &rest[1..])
        }
        [license, "WITH", exception, rest @ ..] => {
            (allow.contains(&format!("{license} WITH {exception}")), rest)
        }
        [license, rest @ ..] => (allow.contains(*license), rest),
        [] => panic!("an expression of SPDX ends early"),
    }
}

#[test]
fn an_expression_of_licences_is_met_or_not() {
    let allow = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned));
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND (GPL-3.0 OR ISC)", true),
        ("(MIT OR GPL-3.0) AND GPL-2.0", false),
        ("ISC AND MIT OR GPL-3.0", true),
        ("Apache-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
    ] {
        assert_eq!(is_met(expression, &allow), met, "{expression}");
    }
}

#[test]
fn every_crate_has_a_licence_that_is_allowed_and_comes_from_the_registry() {
    let allow = rules().licenses.allow;
    let mut wrong = Vec::new();
    for package in packages() {
        let license = package.license.as_deref().unwrap_or_default();
        if license.is_empty() || !is_met(license, &allow) {
            wrong.push(format!("{} {}: licence `{license}`", package.name, package.version));
        }
        let source = package.source.unwrap_or_default();
        if !source.is_empty() && !source.starts_with("registry+") {
            wrong.push(format!("{} {} comes from {source}", package.name, package.version));
        }
    }
    assert!(wrong.is_empty(), "{}\nhint: deny.toml", wrong.join("\n"));
}

#[test]
fn crates_come_once_but_where_deny_toml_says_why() {
    let bans = rules().bans;
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        versions.entry(package.name).or_default().push(package.version);
    }
    for banned in &bans.deny {
        assert!(!versions.contains_key(&banned.name), "{}: {}", banned.name, banned.reason);
    }
    let skipped: BTreeSet<&str> = bans.skip.iter().map(|named| named.name.as_str()).collect();
    let mut wrong = Vec::new();
    for (name, versions) in &versions {
        let once = versions
            .iter()
            .filter(|version| !skipped.contains(format!("{name}@{version}").as_str()));
        if once.count() > 1 {
            wrong.push(format!("{name} comes as {}", versions.join(" and ")));
        }
    }
    let is_there = |named: &str| {
        let (name, version) = named.split_once('@').unwrap_or((named, ""));
        versions.get(name).is_some_and(|all| all.len() > 1 && all.iter().any(|v| v == version))
    };
    wrong.extend(
        skipped.iter().filter(|named| !is_there(named)).map(|named| {
            format!("{named} is skipped and does not come as a second version any more")
        }),
    );
    assert!(wrong.is_empty(), "{}\nhint: `skip` of deny.toml", wrong.join("\n"));
}
