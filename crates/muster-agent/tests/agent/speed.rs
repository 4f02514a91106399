//! What an attempt costs, for those who want to know: `cargo test --release -p muster-agent --test agent
//! speed -- --ignored --nocapture`, with `PROGRAM` naming a program (default `/bin/true`) and `COUNT` how
//! often it is run.

use crate::lab::{Lab, command};
use std::io::Write as _;
use std::time::Instant;

#[test]
#[ignore = "a measurement, not a check"]
fn microseconds_per_attempt() {
    let var = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let count: u32 = var("COUNT", "10000").parse().unwrap();
    let mut lab = Lab::new(2);
    lab.until(|lab| lab.last.is_some());
    let names: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    let items: Vec<(&str, &str, u32)> = names.iter().map(|n| (n.as_str(), "", 0)).collect();
    lab.add_each(command(&var("PROGRAM", "/bin/true")), &items);
    let started = Instant::now();
    lab.until_done();
    let micros = started.elapsed().as_micros() / u128::from(count);
    writeln!(std::io::stdout(), "{micros} µs per attempt, {count} attempts").unwrap();
}
