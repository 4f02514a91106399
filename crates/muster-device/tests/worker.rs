//! A device that a worker has open keeps the promises of its driver, and jobs do not see each other's.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use muster_device::{
    Cancel, Captured, Command, Device, DeviceAddress, DeviceError, Exit, Fault, Job, Until, Worker, contract,
};
use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

/// A worker of this process, ended when it is dropped.
struct Held {
    address: DeviceAddress,
    dir: tempfile::TempDir,
    control: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Held {
    fn new(address: &str) -> Self {
        let (dir, address) = (tempfile::tempdir().unwrap(), address.parse::<DeviceAddress>().unwrap());
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let (control, theirs) = UnixStream::pair().unwrap();
        let worker = Worker::new(address.clone());
        let thread = thread::spawn(move || worker.run(&listener, theirs).unwrap());
        Self { address, dir, control: Some(control), thread: Some(thread) }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn step(&self, job: &str, goes_on: bool) -> Box<dyn Device> {
        self.address.open_at(&self.socket(), &Job { id: job.to_owned(), goes_on })
    }

    fn end_job(&self, job: &str) {
        self.control.as_ref().unwrap().write_all(format!("{job}\n").as_bytes()).unwrap();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.control.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn run(device: &dyn Device, line: &str) -> Result<(Exit, String), DeviceError> {
    let mut said = Captured::default();
    let exit = device.exec()?.run(&Command::shell(line), &mut said, &soon())?;
    Ok((exit, String::from_utf8(said.stdout).unwrap()))
}

#[test]
fn a_device_behind_a_worker_keeps_the_promises_of_every_driver() {
    let files = tempfile::tempdir().unwrap();
    let held = [Held::new("local:"), Held::new(&format!("fake:held?dir={}", files.path().display()))];
    for held in &held {
        let device = held.step("1", false);
        assert_eq!(
            (device.driver(), device.address()),
            (held.address.driver().scheme, &*held.address.to_string())
        );
        contract::check_all(&*device);
    }
}

#[test]
fn what_listens_at_a_socket_is_a_driver_like_any_other() {
    let held = Held::new("local:");
    let address = format!("unix:{}", held.socket().display());
    let device = address.parse::<DeviceAddress>().unwrap().open().unwrap();
    assert_eq!(device.address(), address);
    assert_eq!(run(&*device, "echo hi; exit 3").unwrap(), (Exit::Code(3), "hi\n".to_owned()));
    let missing = device.files().unwrap().pull("/no/such/file", 0, &mut Vec::new(), &soon());
    assert_eq!(missing.unwrap_err().code(), "not-found");
    assert!(device.supply().is_err() && device.packages().is_err());
    drop(held);
    let error = run(&*device, "true").unwrap_err();
    assert_eq!(error.fault(), Fault::Lab, "{error}");
}

/// Ends where what it started has ended.
const SLEEPER: &str = "echo $$; exec sleep 4243";

fn wait_for_the_end_of(pid: &str) {
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    while !(stat().is_empty() || stat().contains(") Z")) {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_program_ends_when_its_call_is_cancelled_or_its_asker_has_gone() {
    let held = Held::new("local:");
    let device = held.step("1", false);
    let cancel = Cancel::new().unwrap();
    let mut pid = String::new();
    let mut sink = |_, bytes: &[u8]| {
        pid.push_str(std::str::from_utf8(bytes).unwrap());
        cancel.cancel();
        Ok(())
    };
    let until = soon().or(&cancel);
    let error = device.exec().unwrap().run(&Command::shell(SLEEPER), &mut sink, &until).unwrap_err();
    assert_eq!(error.code(), "cancelled");
    wait_for_the_end_of(pid.trim());
    // The conversation goes on.
    assert_eq!(run(&*device, "echo hi").unwrap().1, "hi\n");

    // By hand, so that the asker can go in the middle of a call.
    let mut asker = UnixStream::connect(held.socket()).unwrap();
    let pid_file = held.dir.path().join("pid");
    let line = format!("echo $$ >{0}.tmp; mv {0}.tmp {0}; exec sleep 4243", pid_file.display());
    let call = serde_json::json!({ "id": 1, "call": "exec", "args": ["sh", "-c", line], "later": 1 });
    asker.write_all(format!("{{\"hello\":{{\"protocol\":1}}}}\n{call}\n").as_bytes()).unwrap();
    while !pid_file.exists() {
        thread::sleep(Duration::from_millis(5));
    }
    drop(asker);
    wait_for_the_end_of(std::fs::read_to_string(&pid_file).unwrap().trim());
}

#[test]
fn calls_of_several_askers_go_on_beside_each_other() {
    let held = Held::new("local:");
    let fifo = held.dir.path().join("fifo");
    let (one, other) = (held.step("1", false), held.step("1", true));
    run(&*one, &format!("mkfifo {}", fifo.display())).unwrap();
    thread::scope(|scope| {
        // Each ends only if both run.
        let reads = scope.spawn(|| run(&*one, &format!("cat {}", fifo.display())).unwrap());
        run(&*other, &format!("echo through >{}", fifo.display())).unwrap();
        assert_eq!(reads.join().unwrap().1, "through\n");
    });
}

#[test]
fn nonsense_ends_a_conversation_and_nothing_else() {
    let held = Held::new("local:");
    for said in [
        "hello\n",
        "{\"hello\":{\"protocol\":2}}\n",
        "{\"hello\":{\"protocol\":1}}\n{\"id\":1,\"call\":\"dance\"}\n",
    ] {
        let mut asker = UnixStream::connect(held.socket()).unwrap();
        asker.write_all(said.as_bytes()).unwrap();
        let mut answer = String::new();
        // It is hung up on: else this waits for ever.
        drop(std::io::Read::read_to_string(&mut asker, &mut answer));
        assert!(!answer.contains("\"ok\""), "{answer}");
    }
    assert_eq!(run(&*held.step("1", false), "echo hi").unwrap().1, "hi\n");
}

#[test]
fn the_steps_of_a_job_share_what_is_opened_for_it_and_another_job_begins_anew() {
    let held = Held::new("container:/");
    let there = |device: &dyn Device| run(device, "cat /tmp/left 2>/dev/null; true").unwrap().1;
    run(&*held.step("1", false), "echo one >/tmp/left").unwrap();
    assert_eq!(there(&*held.step("1", true)), "one\n");
    assert_eq!(there(&*held.step("2", false)), "");
    run(&*held.step("2", true), "echo two >/tmp/left").unwrap();
    held.end_job("1");
    assert_eq!(there(&*held.step("2", true)), "two\n");
    // What is used by no job by name is that of the one that is under way.
    let address = format!("unix:{}", held.socket().display());
    assert_eq!(there(&*address.parse::<DeviceAddress>().unwrap().open().unwrap()), "two\n");
    held.end_job("2");
    let error = loop {
        // The end of a job is not waited for.
        match run(&*held.step("2", true), "true") {
            Ok(_) => thread::sleep(Duration::from_millis(5)),
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), error.fault()), ("lost", Fault::Lab), "{error}");
    assert_eq!(there(&*held.step("3", false)), "");
}

#[test]
fn a_device_that_stays_what_it_is_goes_on_whoever_had_it_open() {
    let held = Held::new("local:");
    assert_eq!(run(&*held.step("7", true), "echo on").unwrap().1, "on\n");
}
