//! What push, pull and exec cost over the SUT protocol, on loopback, with our agent in this process.
//!
//! `cargo run --release -p muster-device --example sut_bench [MEBIBYTES]`
//!
//! The lines "by old clients" speak raw bytes as Mozilla's client does, and so show the agent alone; the
//! others are our client and our agent together. The figures of Mozilla's own, on another busy host and
//! over loopback too, stand beside them: client 0.48 with the agent Negatus, and with a small one in Python.

use muster_device::sut::{Agent, AgentConfig, Client};
use muster_device::{Captured, Command, Exec as _, Files as _, Until};
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let mebibytes: usize = std::env::args().nth(1).map_or(Ok(20), |n| n.parse())?;
    let dir = std::env::temp_dir().join(format!("muster-sut-bench-{}", std::process::id()));
    let mut config = AgentConfig::new(dir.join("root"), dir.join("state"));
    config.command_port = 0;
    config.data_port = 0;
    let agent = Agent::start(config)?;
    let port = agent.command_addr().port();
    let client = Client::new("127.0.0.1", port);
    let until = Until::within(Duration::from_secs(600));
    let root = client.test_root(&until)?;
    let file = format!("{root}/file");
    let bytes: Vec<u8> = (0..mebibytes << 20).map(|n| ((n * 31) >> 5) as u8).collect();

    line("operation", "here", "Negatus", "Python agent");
    let size = format!("{mebibytes} MB");
    let took = best(|| Ok(client.push(&mut &*bytes, bytes.len() as u64, &file, &until)?))?;
    line(&format!("push {size}"), &millis(took), "5400 ms (20 MB)", "570 ms (20 MB)");
    let took = best(|| {
        let mut got = Vec::with_capacity(bytes.len());
        client.pull(&file, 0, &mut got, &until)?;
        if got == bytes { Ok(()) } else { Err("another file came back".into()) }
    })?;
    line(&format!("pull {size}"), &millis(took), "650 ms (20 MB)", "500 ms (20 MB)");
    let took = best(|| {
        for _ in 0..1000 {
            client.stat(&root, &until)?;
        }
        Ok(())
    })?;
    line("stat", &millis(took / 1000), "-", "-");
    let took = best(|| {
        for _ in 0..100 {
            client.run(&Command::new(["echo", "hi"]), &mut Captured::default(), &until)?;
        }
        Ok(())
    })?;
    line("exec echo", &millis(took / 100), "296 ms", "53 ms");

    let mut old = Old { tcp: TcpStream::connect(("127.0.0.1", port))? };
    old.answer()?;
    let took = best(|| {
        for _ in 0..1000 {
            old.ask(&format!("isdir {root}"), &[])?;
        }
        Ok(())
    })?;
    line("isdir, by old clients", &millis(took / 1000), "0.13 ms", "0.21 ms");
    let took = best(|| {
        for _ in 0..100 {
            old.ask("exec echo hi", &[])?;
        }
        Ok(())
    })?;
    line("exec echo, by old clients", &millis(took / 100), "296 ms", "53 ms");
    let push = format!("push {file} {}", bytes.len());
    let took = best(|| old.ask(&push, &bytes).map(drop))?;
    line(&format!("push {size}, by old clients"), &millis(took), "5400 ms (20 MB)", "570 ms (20 MB)");
    drop(agent);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// The shortest of some tries.
fn best(mut work: impl FnMut() -> Done) -> Result<Duration, Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        work()?;
        best = best.min(begun.elapsed());
    }
    Ok(best)
}

fn millis(took: Duration) -> String {
    format!("{:.3} ms", took.as_secs_f64() * 1000.0)
}

#[expect(clippy::print_stdout, reason = "a bench is read by people")]
fn line(what: &str, here: &str, negatus: &str, python: &str) {
    println!("{what:<28} {here:>14} {negatus:>18} {python:>18}");
}

/// A client that says what Mozilla's says.
struct Old {
    tcp: TcpStream,
}

impl Old {
    fn ask(&mut self, line: &str, payload: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        self.tcp.write_all(format!("{line}\r\n").as_bytes())?;
        self.tcp.write_all(payload)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut all = Vec::new();
        let mut buffer = [0; 1024];
        while !all.ends_with(b"$>\0") {
            match self.tcp.read(&mut buffer)? {
                0 => return Err("the agent went away".into()),
                n => all.extend_from_slice(&buffer[..n]),
            }
        }
        if all.starts_with(b"##AGENT") { Err(String::from_utf8_lossy(&all).into()) } else { Ok(all) }
    }
}
