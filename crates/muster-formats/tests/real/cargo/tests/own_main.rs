//! `harness = false`, and knows no `--list`.
fn main() {
    println!("a program of its own; arguments {:?}", std::env::args().skip(1).count());
}
