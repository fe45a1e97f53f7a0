//! Mistakes that don't compile, each with a message that says what to do.
// The compiler shortens paths to names that are unique among all crates it knows, so the messages are those of one set of
// features: the whole workspace's.
#![cfg(feature = "client")]

#[test]
fn mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
