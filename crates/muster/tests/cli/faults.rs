//! Real faults on a lab of real processes: killed, stopped, cut off, out of disk, while a run goes through.
//!
//! What is believed afterwards is not the record alone, but what the tests themselves have left: each takes a
//! lock on its device and one on its item, writes down that it began and that it ended, and prints numbered
//! lines. So two at once on a device, an item in two places, a lost result, a log with a gap, and a process
//! that was left running are seen whoever is wrong.

use crate::env::TestEnv;
use crate::lab::{Lab, items, lines, lives, processes_with, signal};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a run of many short items leaves behind as evidence.
struct Evidence<'a> {
    env: &'a TestEnv,
    items: usize,
    cookie: String,
    /// Where a keeper stops what it runs because the lease is about to end, and is heard before it has ended,
    /// that is an attempt that came to nothing, and there is another.
    attempts_max: usize,
    /// Where there is no room a log may lack something, and then says how much of it and where.
    logs_may_lack: bool,
}

impl<'a> Evidence<'a> {
    /// An area of so many items of so many milliseconds. Every tenth prints more than goes with a result.
    fn plant(env: &'a TestEnv, items: usize, millis: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let cookie = format!("fault-{}-{count}", std::process::id());
        let dir = env.home().join("evidence");
        std::fs::create_dir_all(&dir).unwrap();
        let names: Vec<String> = (0..items).map(|n| format!("\"{n}\"")).collect();
        env.write(
            "muster.toml",
            &format!(
                "[area]\nname = \"demo\"\n[env]\nCOOKIE = \"{cookie}\"\nEVIDENCE = \"{}\"\n\
                 [test.work]\nrun = \"sh ./work.sh\"\nitems = [{}]\n",
                dir.display(),
                names.join(",")
            ),
        );
        env.write(
            "work.sh",
            &format!(
                "exec 8>>$EVIDENCE/device-$MUSTER_SLOT 9>>$EVIDENCE/item-$MUSTER_ITEM\n\
                 flock -n 8 || echo \"two at once on $MUSTER_SLOT: $MUSTER_ITEM\" >> $EVIDENCE/wrong\n\
                 flock -n 9 || echo \"in two places: $MUSTER_ITEM\" >> $EVIDENCE/wrong\n\
                 echo $MUSTER_ITEM $MUSTER_ATTEMPT >> $EVIDENCE/began\n\
                 case $MUSTER_ITEM in *0) max=15000;; *) max=30;; esac\n\
                 seq $max\n\
                 touch $EVIDENCE/on-$MUSTER_SLOT\n\
                 while [ -e $EVIDENCE/hold-$MUSTER_SLOT ]; do sleep 0.05; done\n\
                 sleep {}.{:03}\n\
                 seq $((max + 1)) $((2 * max))\n\
                 echo $MUSTER_ITEM $MUSTER_ATTEMPT >> $EVIDENCE/ended\n",
                millis / 1000,
                millis % 1000
            ),
        );
        Self { env, items, cookie, attempts_max: 1, logs_may_lack: false }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.env.home().join("evidence").join(name)
    }

    fn ended(&self) -> usize {
        lines(&self.file("ended")).len()
    }

    /// Waits until so many have ended.
    fn wait_for(&self, ended: usize) {
        while self.ended() < ended {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn start(&self, lab: &Lab<'_>) -> Child {
        let args = ["run", "--progress", "quiet", "--report", "json:out.json"];
        lab.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits for the run's end and holds the record against what was seen. How often items began.
    fn check(&self, lab: &Lab<'_>, run: Child, story: &str) -> usize {
        let said = run.wait_with_output().unwrap();
        let told = self.env.tell(&said);
        assert_eq!(said.status.code(), Some(0), "{story}\n{told}");
        let wrong = lines(&self.file("wrong"));
        assert!(wrong.is_empty(), "{story}\n{wrong:#?}");
        let recorded = items(self.env, "out.json");
        assert_eq!(recorded.len(), self.items, "{story}: an item is missing in the record");
        let count = |name: &str| {
            let mut all: BTreeMap<String, usize> = BTreeMap::new();
            for line in lines(&self.file(name)) {
                *all.entry(format!("work/{line}")).or_default() += 1;
            }
            all
        };
        let (began, ended) = (count("began"), count("ended"));
        for (item, (verdict, attempts, message)) in &recorded {
            let good = verdict == "pass" && (1..=self.attempts_max).contains(attempts);
            assert!(good, "{story}\n{item}: {verdict} after {attempts} attempts, {message}");
            // Nobody recorded more than was run, nor an attempt that was not made.
            let last = format!("{item} {attempts}");
            assert!(ended.contains_key(&last), "{story}\n{item} is recorded and never ended");
        }
        assert!(began.len() <= self.items * self.attempts_max, "{story}: attempts without end: {began:?}");
        for item in (0..self.items).filter(|n| n % 10 == 0).chain([1, self.items / 2, self.items - 1]) {
            let log = lab.command(&["log", &format!("work/{item}")]).output().unwrap();
            let text = String::from_utf8(log.stdout).unwrap();
            let max = if item % 10 == 0 { 30_000 } else { 60 };
            let whole = |text: &str, from: u32| (from..=max).map(|n: u32| n.to_string()).eq(text.lines());
            let is_whole = match text.split_once("[muster] ") {
                Some((head, rest)) if self.logs_may_lack => {
                    let (told, tail) = rest.split_once('\n').unwrap();
                    // Lines on both sides may be cut.
                    let last = head.lines().count() as u32;
                    let head = head.lines().map(str::to_owned).take(last as usize - 1);
                    let first = tail.lines().nth(1).unwrap().parse().unwrap();
                    let tail = tail.split_once('\n').unwrap().1;
                    told.contains("bytes of output lost here")
                        && first > last
                        && whole(tail, first)
                        && (1..last).map(|n| n.to_string()).eq(head)
                }
                _ => whole(&text, 1),
            };
            let strange: Vec<&str> =
                text.lines().filter(|line| line.parse::<u32>().is_err()).take(5).collect();
            let lines = text.lines().count();
            assert!(is_whole, "{story}\nthe log of {item} has {lines} lines of {max}: {strange:#?}");
        }
        while processes_with(&self.cookie) > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        let devices = lab.command(&["device", "list"]).output().unwrap();
        let devices = self.env.tell(&devices);
        assert!(!devices.contains("busy"), "{story}\n{devices}");
        began.values().sum()
    }
}

/// Small, repeatable chance.
struct Dice(u64);

impl Dice {
    /// From `MUSTER_FAULTS_SEED`, or the time.
    fn new() -> Self {
        let given = std::env::var("MUSTER_FAULTS_SEED").ok().and_then(|s| s.parse().ok());
        let time = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        Self(given.unwrap_or(time | 1))
    }

    fn below(&mut self, n: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

const AGENTS: [(&str, [&str; 4]); 3] = [
    ("one", ["--device", "a1", "--device", "a2"]),
    ("two", ["--device", "b1", "--device", "b2"]),
    ("three", ["--device", "c1", "--device", "c2"]),
];

fn start_agents(lab: &mut Lab<'_>) -> Vec<u32> {
    AGENTS.iter().map(|(name, args)| lab.start_agent(name, args)).collect()
}

#[test]
fn whatever_is_killed_in_the_middle_nothing_is_lost_and_nothing_runs_in_two_places() {
    let env = TestEnv::new();
    let evidence = Evidence::plant(&env, 400, 60);
    let mut dice = Dice::new();
    let mut story = format!("MUSTER_FAULTS_SEED={}", dice.0);
    let mut lab = Lab::start(&env);
    let mut agents = start_agents(&mut lab);
    let run = evidence.start(&lab);
    evidence.wait_for(1);
    while evidence.ended() < evidence.items - 40 {
        std::thread::sleep(Duration::from_millis(50 + dice.below(350)));
        let which = dice.below(3) as usize;
        let (name, args) = AGENTS[which];
        let what = dice.below(6);
        write!(story, "\n{} ended: ", evidence.ended()).unwrap();
        match what {
            0 | 1 => {
                write!(story, "agent {name} killed").unwrap();
                lab.kill_agent(agents[which]);
                std::thread::sleep(Duration::from_millis(dice.below(200)));
                agents[which] = lab.start_agent(name, &args);
            }
            2 | 3 => {
                story.push_str("server killed");
                lab.kill_server();
                std::thread::sleep(Duration::from_millis(dice.below(300)));
                lab.start_server();
            }
            4 => {
                write!(story, "keeper of {name} killed").unwrap();
                // The agent starts another.
                signal("-KILL", lab.keeper(name));
            }
            _ => {
                write!(story, "agent and keeper of {name} killed").unwrap();
                lab.kill_agent_and_keeper(name, agents[which]);
                agents[which] = lab.start_agent(name, &args);
            }
        }
    }
    evidence.check(&lab, run, &story);
    lab.kill_server();
    lab.start_server();
    let again = lab.command(&["results", "1", "--output", "json"]).output().unwrap();
    lab.kill_server();
    lab.start_server();
    let twice = lab.command(&["results", "1", "--output", "json"]).output().unwrap();
    assert!(!again.stdout.is_empty() && again.stdout == twice.stdout, "what is restored twice is the same");
}

/// Who is stopped one after the other, for how long; with a lease of so long. How many items began.
fn stopped(who: &[&str], seconds: u64, lease: &'static str) -> usize {
    let env = TestEnv::new();
    let mut evidence = Evidence::plant(&env, 60, 700);
    // The servers here have leases of five seconds or thirty.
    evidence.attempts_max = if seconds >= 5 { 2 } else { 1 };
    let mut lab = Lab::with_lease(&env, lease);
    let agents = start_agents(&mut lab);
    let run = evidence.start(&lab);
    for which in who {
        evidence.wait_for(evidence.ended() + 4);
        // There is an item on its device, and that does not end while who runs it stands still for long.
        let hold = evidence.file("hold-a1");
        if seconds >= 5 {
            std::fs::write(&hold, "").unwrap();
            let _old = std::fs::remove_file(evidence.file("on-a1"));
            while !evidence.file("on-a1").exists() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let process = match *which {
            "server" => lab.server_id(),
            "agent" => agents[0],
            _ => lab.keeper(AGENTS[0].0),
        };
        signal("-STOP", process);
        std::thread::sleep(Duration::from_secs(seconds));
        let _held = std::fs::remove_file(&hold);
        // One that hangs for too long is ended by its agent.
        if lives(process) {
            signal("-CONT", process);
        }
    }
    evidence.check(&lab, run, &format!("{who:?} stopped for {seconds} s"))
}

#[test]
fn who_stands_still_for_less_than_a_lease_has_lost_nothing() {
    assert_eq!(stopped(&["server", "agent", "keeper"], 2, "30s"), 60, "nothing began twice");
}

#[test]
fn an_agent_that_stands_still_for_longer_than_a_lease_has_its_work_done_by_others() {
    assert!(stopped(&["agent"], 7, "5s") > 60, "what it ran was stopped, and began again elsewhere");
}

#[test]
fn a_keeper_that_stands_still_for_longer_than_a_lease_has_its_work_done_by_others() {
    assert!(stopped(&["keeper"], 7, "5s") > 60, "what it ran was killed, and began again elsewhere");
}

#[test]
fn a_server_that_stands_still_for_longer_than_a_lease_gives_everything_out_again_once() {
    stopped(&["server"], 7, "5s");
}

/// What a proxy does to connections.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Wire {
    Passes,
    /// New ones are closed at once, old ones are cut.
    Cuts,
    /// Nothing goes through, and nobody is told.
    Freezes,
    /// What is asked arrives, and the answer is lost.
    LosesAnswers,
    /// The server's side is closed, the other stays open.
    HalfCloses,
}

/// Stands between a server and everybody else.
struct Proxy {
    listen: String,
    wire: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap().to_string();
        let wire = Arc::new(AtomicU8::new(0));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (server, shared, streams) = (server.to_owned(), Arc::clone(&wire), Arc::clone(&open));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.load(Ordering::Relaxed) == Wire::Cuts as u8 {
                    continue;
                }
                let Ok(there) = TcpStream::connect(&server) else { continue };
                streams.lock().unwrap().extend([client.try_clone().unwrap(), there.try_clone().unwrap()]);
                let pair = (client.try_clone().unwrap(), there.try_clone().unwrap());
                let wire = Arc::clone(&shared);
                std::thread::spawn(move || pump(client, there, &wire, true));
                let wire = Arc::clone(&shared);
                std::thread::spawn(move || pump(pair.1, pair.0, &wire, false));
            }
        });
        Self { listen, wire, open }
    }

    fn set(&self, wire: Wire) {
        self.wire.store(wire as u8, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap();
        match wire {
            Wire::Cuts | Wire::LosesAnswers => {
                for stream in open.drain(..) {
                    let _gone = stream.shutdown(Shutdown::Both);
                }
            }
            Wire::HalfCloses => {
                for stream in open.iter().skip(1).step_by(2) {
                    let _gone = stream.shutdown(Shutdown::Write);
                }
            }
            Wire::Passes | Wire::Freezes => {}
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, wire: &AtomicU8, asks: bool) {
    let mut buffer = [0u8; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        while wire.load(Ordering::Relaxed) == Wire::Freezes as u8 {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !asks && wire.load(Ordering::Relaxed) == Wire::LosesAnswers as u8 {
            break;
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(Shutdown::Both);
    let _gone = from.shutdown(Shutdown::Both);
}

#[test]
fn connections_that_are_cut_frozen_or_lose_answers_change_nothing() {
    let env = TestEnv::new();
    let evidence = Evidence::plant(&env, 240, 60);
    let mut dice = Dice::new();
    let mut story = format!("MUSTER_FAULTS_SEED={}", dice.0);
    let mut lab = Lab::with_lease(&env, "30s");
    let proxy = Proxy::start(&lab.listen());
    lab.ask_through(proxy.listen.clone());
    start_agents(&mut lab);
    let run = evidence.start(&lab);
    evidence.wait_for(1);
    let start = Instant::now();
    while evidence.ended() < evidence.items - 30 {
        let wire = match dice.below(4) {
            0 => Wire::Cuts,
            1 => Wire::Freezes,
            2 => Wire::LosesAnswers,
            _ => Wire::HalfCloses,
        };
        write!(story, "\n{} ms: {wire:?}", start.elapsed().as_millis()).unwrap();
        proxy.set(wire);
        std::thread::sleep(Duration::from_millis(20 + dice.below(500)));
        proxy.set(Wire::Passes);
        std::thread::sleep(Duration::from_millis(100 + dice.below(400)));
    }
    let began = evidence.check(&lab, run, &story);
    assert_eq!(began, evidence.items, "{story}: nothing began twice");
}

#[test]
fn a_run_whose_answer_is_lost_is_asked_for_again_and_is_one_run() {
    let env = TestEnv::new();
    let evidence = Evidence::plant(&env, 4, 10);
    let mut lab = Lab::start(&env);
    start_agents(&mut lab);
    let proxy = Proxy::start(&lab.listen());
    lab.ask_through(proxy.listen.clone());
    // The area is there already, so that asking for the run is among the first things that happen.
    let first = evidence.start(&lab);
    evidence.check(&lab, first, "at first");
    for millis in [5, 20, 40, 60, 90] {
        let mut run = evidence.start(&lab);
        std::thread::sleep(Duration::from_millis(millis));
        if run.try_wait().unwrap().is_none() {
            proxy.set(Wire::LosesAnswers);
            std::thread::sleep(Duration::from_millis(300));
        }
        proxy.set(Wire::Passes);
        let said = run.wait_with_output().unwrap();
        let told = env.tell(&said);
        // Before it had found the server it says so; later it goes on.
        assert!(said.status.success() || told.contains("cannot be reached"), "after {millis} ms: {told}");
    }
    let runs = env.tell(&lab.command(&["runs"]).output().unwrap());
    assert!(!runs.contains("running") && !runs.contains("active"), "{runs}");
}

#[test]
fn a_server_whose_disk_is_full_says_so_and_goes_on_when_there_is_room() {
    let env = TestEnv::new();
    let evidence = Evidence::plant(&env, 60, 100);
    let mut lab = Lab::start_on_small_disk(&env, 24);
    start_agents(&mut lab);
    let run = evidence.start(&lab);
    evidence.wait_for(6);
    let full = lab.fill_disk();
    std::thread::sleep(Duration::from_secs(2));
    let said = env.tell(&lab.command(&["run", "--detach"]).output().unwrap());
    assert!(said.contains("--- exit 3"), "{said}");
    std::fs::remove_file(full).unwrap();
    let began = evidence.check(&lab, run, "the server's disk was full");
    assert_eq!(began, evidence.items, "nothing began twice");
}

#[test]
fn an_agent_whose_disk_is_full_fails_nobody_s_test() {
    let env = TestEnv::new();
    let mut evidence = Evidence::plant(&env, 60, 100);
    // What it could not carry out is made elsewhere.
    evidence.attempts_max = 4;
    evidence.logs_may_lack = true;
    let mut lab = Lab::start(&env);
    // It takes work as long as there is any room, so that it runs out of it in the middle.
    let config = env.home().join("agent.toml");
    std::fs::write(&config, "[self-check]\ndisk-free = \"64KiB\"\nload = 1000.0\n").unwrap();
    let config = config.display().to_string();
    let (name, args) = AGENTS[0];
    lab.start_agent_on_small_disk(name, &[&args[..], &["--config", &config]].concat(), 8);
    let (name, args) = AGENTS[1];
    lab.start_agent(name, &args);
    let run = evidence.start(&lab);
    for device in ["a1", "a2"] {
        while !evidence.file(&format!("on-{device}")).exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let full = lab.fill_disk();
    evidence.wait_for(40);
    std::fs::remove_file(full).unwrap();
    evidence.check(&lab, run, "the agent's disk was full");
}
