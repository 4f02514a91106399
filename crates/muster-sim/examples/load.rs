//! Many agents that only pretend to run what they are given, against a real server over HTTP.
//!
//! `cargo run --release -p muster-sim --example load -- URL [AGENTS] [DEVICES] [MILLIS]`
//!
//! Each agent is the real ledger with connections of its own; an attempt passes MILLIS after it was begun (0:
//! at once, which shows what the server can do at most, and then exchanges only wait for each other), and
//! prints nothing. What is left is what the server costs. They join, print a line, and run what comes until
//! standard input ends; then the figures are printed as one line of JSON:
//!
//! * `dispatched`: attempts that were run, `seconds` from the first of them to the last, and `per_second`;
//! * `exchanges`: those that carried results, with the time until they were answered, in milliseconds. The
//!   server answers them once the results are on disk. Those that wait for work are not counted.
//!
//! Deliberately absent: a real executor, and faults; the simulator's worlds have those.

#![expect(clippy::print_stdout, reason = "this program is there to print")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made may panic")]

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use muster_agent::ledger::{Effect, Ledger, Speak, Taken};
use muster_api::{CBOR, PREFIX, from_cbor, to_cbor};
use muster_core::attempt::{AttemptResult, Cause};
use muster_core::exchange::{AttemptEnd, DeviceOffer, Exchange, Gauges, Orders};
use muster_core::id::{AgentId, SessionId};
use muster_core::outcome::Outcome;
use muster_core::time::Time;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// What all agents saw.
#[derive(Default)]
struct Seen {
    dispatched: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    /// How long exchanges with results took.
    exchanges: Vec<Duration>,
}

type Connection = SendRequest<Full<Bytes>>;

fn main() {
    let url = std::env::args().nth(1).expect("the server's address, http://HOST:PORT");
    let server = url.strip_prefix("http://").expect("http://HOST:PORT").to_owned();
    let number = |place: usize, otherwise: usize| {
        std::env::args().nth(place).map_or(otherwise, |n| n.parse().unwrap())
    };
    let (agents, devices, millis) = (number(2, 500), number(3, 4), number(4, 200));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let joined = Arc::new(Barrier::new(agents + 1));
    let mut running = JoinSet::new();
    for n in 1..=agents {
        let agent = Agent {
            server: server.clone(),
            ledger: Ledger::new(AgentId(n as u64), SessionId(1), format!("load-{n}"), offers(devices)),
            takes: Duration::from_millis(millis as u64),
            running: (0..devices).map(|_| None).collect(),
            idle: Vec::new(),
            seen: Arc::clone(&seen),
        };
        running.spawn_on(agent.run(Arc::clone(&joined)), runtime.handle());
    }
    runtime.block_on(joined.wait());
    println!("{agents} agents with {devices} devices each have joined");
    let told = runtime.spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    runtime.block_on(async {
        tokio::select! {
            _told = told => {}
            // An agent never ends by itself.
            Some(ended) = running.join_next() => ended.unwrap(),
        }
    });
    report(&seen.lock().unwrap());
    // The agents' exchanges are cut: the server learns by that, as it would if their hosts died.
    runtime.shutdown_background();
}

/// Half of an agent's devices are phones, half are boards.
fn offers(devices: usize) -> Vec<DeviceOffer> {
    let offer = |d: usize| {
        let kind = if d.is_multiple_of(2) { "phone" } else { "board" };
        DeviceOffer { name: format!("d{d}"), labels: [("kind".to_owned(), kind.to_owned())].into() }
    };
    (0..devices).map(offer).collect()
}

/// One agent, and its connections that carry nothing at the moment.
struct Agent {
    server: String,
    ledger: Ledger,
    /// How long each attempt takes.
    takes: Duration,
    /// What runs on each device, and until when.
    running: Vec<Option<(Taken, Time)>>,
    idle: Vec<Connection>,
    seen: Arc<Mutex<Seen>>,
}

/// An exchange that was answered: its connection, the orders, and how long it took if it carried results.
struct Answered {
    connection: Connection,
    orders: Option<Orders>,
    took: Option<Duration>,
}

impl Agent {
    /// Joins, and runs what it is given.
    async fn run(mut self, joined: Arc<Barrier>) {
        let gauges = Gauges { load_per_core: 0.1, disk_free_bytes: 1 << 40 };
        let mut under_way = FuturesUnordered::new();
        let mut joined = Some(joined);
        loop {
            let now = clock();
            match self.ledger.wants_to_speak(now) {
                Speak::Now => {
                    let exchange = self.ledger.exchange(now, gauges);
                    let connection = self.connection().await;
                    under_way.push(ask(self.server.clone(), connection, exchange));
                }
                Speak::At(at) => {
                    let due = self.running.iter().flatten().map(|(_, until)| *until).min();
                    let wake = due.map_or(at, |due| due.min(at));
                    tokio::select! {
                        Some(answered) = under_way.next() => self.hear(answered),
                        () = tokio::time::sleep(wake.since(now)) => {}
                    }
                }
            }
            self.work();
            // The first exchange is held open until there is work: that it was sent is all that can be waited for.
            if let Some(joined) = joined.take() {
                joined.wait().await;
            }
        }
    }

    async fn connection(&mut self) -> Connection {
        if let Some(mut idle) = self.idle.pop()
            && idle.ready().await.is_ok()
        {
            return idle;
        }
        let stream = TcpStream::connect(&self.server).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    fn hear(&mut self, answered: Answered) {
        self.idle.push(answered.connection);
        self.seen.lock().unwrap().exchanges.extend(answered.took);
        let Some(orders) = answered.orders else { return };
        for effect in self.ledger.receive_orders(clock(), orders) {
            if let Effect::Stop { device, .. } = effect
                && let Some((_, until)) = &mut self.running[device as usize]
            {
                *until = clock();
            }
        }
    }

    /// What has run long enough has passed, and idle devices take what they were given.
    fn work(&mut self) {
        let (begin, mut dispatched) = (Instant::now(), 0);
        for device in 0..self.running.len() {
            loop {
                let now = clock();
                if let Some((taken, _)) = self.running[device].take_if(|(_, until)| *until <= now) {
                    for attempt in &taken.unit.attempts {
                        let result = AttemptResult::bare(Outcome::Pass, Cause::Exit(0), now, self.takes);
                        let end = AttemptEnd::Ran(result);
                        self.ledger.receive_finished(now, taken.unit.id, attempt.attempt, end);
                        dispatched += 1;
                    }
                    self.ledger.receive_unit_ended(now, taken.unit.id);
                }
                if self.running[device].is_some() {
                    break;
                }
                let Some(taken) = self.ledger.take(now, u32::try_from(device).unwrap()) else { break };
                let attempts = u32::try_from(taken.unit.attempts.len()).unwrap();
                self.running[device] = Some((taken, now + self.takes * attempts));
            }
        }
        if dispatched > 0 {
            let mut seen = self.seen.lock().unwrap();
            seen.dispatched += dispatched;
            seen.first.get_or_insert(begin);
            seen.last = Some(Instant::now());
        }
    }
}

/// Sends an exchange and waits for its answer.
async fn ask(server: String, mut connection: Connection, exchange: Exchange) -> Answered {
    let carries = !exchange.finished.is_empty();
    let body = Full::new(Bytes::from(to_cbor(&exchange)));
    let path = format!("{PREFIX}/agents/{}/exchange", exchange.agent.0);
    let request = Request::post(path).header("host", server).header("content-type", CBOR).body(body).unwrap();
    let asked = Instant::now();
    let answer = connection.send_request(request).await.unwrap();
    let status = answer.status();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let orders = match status {
        StatusCode::OK => Some(from_cbor(&bytes).unwrap()),
        // Nothing to say, or a newer one has overtaken it.
        StatusCode::NO_CONTENT | StatusCode::CONFLICT => None,
        other => panic!("the server answers {other}: {}", String::from_utf8_lossy(&bytes)),
    };
    Answered { connection, orders, took: carries.then(|| asked.elapsed()) }
}

fn report(seen: &Seen) {
    let seconds = seen.first.zip(seen.last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    let mut took = seen.exchanges.clone();
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).map_or(0.0, |d| d.as_secs_f64() * 1e3);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let per_second = if seconds > 0.0 { seen.dispatched as f64 / seconds } else { 0.0 };
    println!(
        r#"{{"dispatched":{},"seconds":{seconds:.3},"per_second":{per_second:.0},"exchanges":{},"p50_ms":{:.1},"p99_ms":{:.1}}}"#,
        seen.dispatched,
        took.len(),
        at(50),
        at(99)
    );
}

fn clock() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Time(u64::try_from(since.as_micros()).unwrap())
}
