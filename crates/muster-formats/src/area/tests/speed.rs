use super::*;
use std::fmt::Write as _;

/// No limit of time: what is quadratic here would take minutes, and is noticed.
#[test]
fn ten_thousand_tests_and_a_hundred_thousand_items_load() {
    let mut text = String::from("[limits.groups]\ndb = 1\n[defaults]\n");
    text.push_str("log = [{ pattern = 'E+', means = 'fail' }]\n");
    for i in 0..10_000 {
        write!(text, "[test.t{i}]\nrun = 'echo {i}'\ntags = ['a', 'b']\n").unwrap();
        text.push_str("skip-when = \"os == 'x'\"\nneeds = { group = 'db' }\n");
        if i > 0 {
            writeln!(text, "after = ['t{}']", i - 1).unwrap();
        }
    }
    assert_eq!(load_good(&text).area.tests.len(), 10_000);

    let axis: Vec<String> = (0..100_000).map(|n| format!("'v{n}'")).collect();
    let wide = format!("[test.t]\nrun = 'x'\nmatrix = {{ A = [{}] }}\n", axis.join(","));
    assert_eq!(item_paths(&load_good(&wide).area.tests[0]).len(), 100_000);
}

#[test]
fn ten_thousand_errors_are_told() {
    let mut text = String::new();
    for i in 0..10_000 {
        write!(text, "[test.t{i}]\nrun = 'x'\ntimout = '3s'\n").unwrap();
    }
    assert_eq!(World::default().load(&text).unwrap_err().len(), 10_000);
}

#[test]
fn ten_thousand_unknown_names_among_ten_thousand_known_ones_are_told() {
    let mut text = String::new();
    for i in 0..10_000 {
        write!(text, "[test.t{i}]\nrun = 'x'\nafter = 'q{i}'\n").unwrap();
    }
    let errors = World::default().load(&text).unwrap_err();
    assert_eq!(errors.len(), 10_000);
}
