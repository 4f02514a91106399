use std::io::Write as _;

#[test]
fn a_prints_much_past_the_capture() {
    let line = [b'x'; 1 << 20];
    for _ in 0..8 {
        std::io::stdout().write_all(&line).unwrap();
    }
}

#[test]
fn b_fails_with_much_output() {
    for i in 0..100_000 {
        println!("line {i}");
    }
    panic!("after much output");
}

#[test]
fn c_passes() {}
