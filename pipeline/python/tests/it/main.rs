//! The tests of the Python module.

#[test]
fn placeholder() {}
