//! `muster package autotest`: what people type and are told, and what is left when something ends it.

use crate::env::TestEnv;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A server's tree with a client and what is run by it.
fn tree(env: &TestEnv) {
    env.write("top/global_config.ini", "[CLIENT]\n");
    env.write("top/client/job.py", "");
    env.write("top/client/tests/sleeptest/sleeptest.py", "1");
    env.write("top/client/deps/libaio/libaio.py", "");
    env.write("top/client/profilers/__init__.py", "");
    env.write("top/client/profilers/iostat/iostat.py", "");
}

fn run(env: &TestEnv, args: &str) -> String {
    let said = env.run(&[&["package", "autotest"][..], &args.split(' ').collect::<Vec<_>>()].concat());
    // Sums are looked at where they matter.
    let is_sum = |word: &str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut text = said.clone();
    for word in said.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| is_sum(word)) {
        text = text.replace(word, "MD5");
    }
    text
}

#[test]
fn packages_go_from_a_tree_to_a_repository_and_to_a_client() {
    let env = TestEnv::new();
    tree(&env);
    let upload = "upload --all --top top --to r,r2 --keep-free 0";
    let said = run(&env, upload);
    assert_eq!(
        said.lines().take(4).collect::<Vec<_>>(),
        [
            "uploaded   client-autotest.tar.bz2  ROOT/area/r",
            "uploaded   test-sleeptest.tar.bz2  ROOT/area/r",
            "uploaded   dep-libaio.tar.bz2  ROOT/area/r",
            "uploaded   profiler-iostat.tar.bz2  ROOT/area/r",
        ],
        "{said}"
    );
    assert_eq!(run(&env, upload).matches("unchanged").count(), 8);
    assert_eq!(
        run(&env, "list --repo r"),
        "MD5 client-autotest.tar.bz2\nMD5 dep-libaio.tar.bz2\nMD5 profiler-iostat.tar.bz2\n\
         MD5 test-sleeptest.tar.bz2\n--- exit 0\n"
    );
    assert_eq!(run(&env, "verify --repo r"), "4 files are as the list says\n--- exit 0\n");

    let install = "install client:autotest test:sleeptest --repo gone,r --autodir autodir";
    let said = run(&env, install);
    assert_eq!(
        said,
        "installed  client:autotest  MD5  ROOT/area/autodir\n\
         installed  test:sleeptest  MD5  ROOT/area/autodir/tests/sleeptest\n--- stderr\n\
         warning: `ROOT/area/gone`: the directory is not there\n--- exit 0\n"
    );
    assert_eq!(fs::read_to_string(env.area().join("autodir/global_config.ini")).unwrap(), "[CLIENT]\n");
    let said = run(&env, "install test:sleeptest --repo r --autodir autodir");
    assert!(said.starts_with("unchanged  test:sleeptest"), "{said}");

    // A second version that is damaged on its way leaves the first, and says so.
    env.write("top/client/tests/sleeptest/sleeptest.py", "2");
    run(&env, "upload test:sleeptest --top top --to r --keep-free 0");
    fs::write(env.area().join("r/test-sleeptest.tar.bz2"), "damaged").unwrap();
    let said = run(&env, "install test:sleeptest --repo r --autodir autodir");
    assert!(said.starts_with("kept       test:sleeptest"), "{said}");
    assert!(said.contains("warning: `test:sleeptest` stays as it was installed before"), "{said}");
    let said = run(&env, "install test:sleeptest --repo r --autodir autodir --strict");
    assert!(said.contains("and `packages.checksum` there says") && said.ends_with("--- exit 3\n"), "{said}");
    let said = run(&env, "verify --repo r");
    assert!(
        said.starts_with("test-sleeptest.tar.bz2: it is MD5, and the list says MD5\n")
            && said.ends_with("--- exit 1\n"),
        "{said}"
    );

    assert_eq!(
        run(&env, "remove test:sleeptest --repo r,r2"),
        "removed  test-sleeptest.tar.bz2  ROOT/area/r\nremoved  test-sleeptest.tar.bz2  ROOT/area/r2\n--- exit 0\n"
    );
    let said = run(&env, "remove test:sleeptest --repo r");
    assert!(said.contains("neither as a file nor in its list") && said.ends_with("--- exit 2\n"), "{said}");
    assert_eq!(run(&env, "prune --repo r --older-than 40d"), "--- exit 0\n");
    let said = run(&env, "fetch dep:libaio --repo r --into cache --json");
    let value: serde_json::Value = serde_json::from_str(said.split("---").next().unwrap()).unwrap();
    assert_eq!(value[0]["did"], "fetched");
}

/// Rows 29 and 33: what cannot be done is told, with an exit code, and keeps nothing else from being done.
#[test]
fn row_33_each_target_that_cannot_be_written_to_is_told() {
    let env = TestEnv::new();
    tree(&env);
    env.write("file", "");
    let said = run(&env, "upload test:sleeptest --top top --to http://127.0.0.1:1/p,file,r --keep-free 0");
    assert!(said.starts_with("uploaded   test-sleeptest.tar.bz2  ROOT/area/r\n"), "{said}");
    assert!(said.contains("error: `http://127.0.0.1:1/p`: ") && said.contains("refused"), "{said}");
    assert!(said.contains("error: `ROOT/area/file`: ") && said.ends_with("--- exit 3\n"), "{said}");
    for (args, why) in [
        ("upload test:none --top top --to r", "there is no `test:none`"),
        ("upload suite:x --top top --to r", "`suite` is no type of package"),
        ("upload nothing --top top --to r", "neither a package nor a file"),
        ("upload test:sleeptest --top top --to ssh://host", "write `ssh://[USER@]HOST[:PORT]/ABSOLUTE/PATH`"),
        ("upload test:a$b --top top --to r", "cannot be the name of a package"),
        ("remove test:none --repo http://127.0.0.1:1/p --revoke", "is on another host"),
    ] {
        let said = run(&env, args);
        assert!(said.contains(why) && said.ends_with("--- exit 2\n"), "{args}: {said}");
    }
}

#[test]
fn a_build_is_staged_by_its_address() {
    let env = TestEnv::new();
    let code = "import http.server as h\n\
        class Dev(h.BaseHTTPRequestHandler):\n\
        \x20   asked = 0\n\
        \x20   def log_message(self, *a): pass\n\
        \x20   def do_GET(self):\n\
        \x20       Dev.asked += 1\n\
        \x20       said = b'Success' if self.path.startswith('/stage?') else b'True' if Dev.asked > 2 else b'False'\n\
        \x20       self.send_response(200); self.end_headers(); self.wfile.write(said)\n\
        s = h.HTTPServer(('127.0.0.1', 0), Dev); print(s.server_port, flush=True); s.serve_forever()";
    let mut server = Command::new("python3").args(["-c", code]).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let url = format!("http://127.0.0.1:{}/static/board/R7/autotest/packages", port.trim());
    let staged = [&["stage"][..], &["autotest", "stage"]].map(|command| {
        env.run(&[&["package"], command, &[&url, "--every", "10ms", "--timeout", "1m"]].concat())
    });
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(staged, [format!("{url}\n--- exit 0\n"), format!("{url}\n--- exit 0\n")]);
    let said = env.run(&["package", "stage", "http://127.0.0.1:1/packages"]);
    assert!(said.contains("/static/BUILD/autotest/packages") && said.ends_with("--- exit 2\n"), "{said}");
}

/// Row 18: the system writes no more in the middle of a package. The old version is there, and no rest of the
/// new one.
#[test]
fn row_18_a_disk_that_takes_no_more_leaves_the_old_version() {
    let env = TestEnv::new();
    tree(&env);
    run(&env, "upload test:sleeptest --top top --to r --keep-free 0");
    run(&env, "install test:sleeptest --repo r --autodir autodir");
    env.write("top/client/tests/sleeptest/sleeptest.py", &"2".repeat(3_000_000));
    run(&env, "upload test:sleeptest --top top --to r --keep-free 0");
    // A limit of the shell's: from here on it is an error of writing, as that of a full disk is.
    let args = ["package", "autotest", "install", "test:sleeptest", "--repo", "r", "--autodir", "autodir"];
    let mut sh = Command::new("sh");
    sh.args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_muster"))
        .args(args);
    sh.current_dir(env.area()).env_clear().env("HOME", env.home()).env("PATH", "/usr/bin:/bin");
    let said = env.tell(&sh.output().unwrap());
    assert!(said.contains("File too large") && said.ends_with("--- exit 3\n"), "{said}");
    let autodir = env.area().join("autodir");
    assert_eq!(fs::read_to_string(autodir.join("tests/sleeptest/sleeptest.py")).unwrap(), "1");
    assert_eq!(fs::read_dir(autodir.join(".muster/staging")).unwrap().count(), 0);
    let said = run(&env, "install test:sleeptest --repo r --autodir autodir");
    assert!(said.starts_with("installed"), "{said}");
}

/// Row 25: killed at any moment, there is the old version or the new one, whole, and the next install mends it.
#[test]
fn row_25_an_install_that_is_killed_leaves_one_whole_version() {
    let env = TestEnv::new();
    tree(&env);
    let test = env.area().join("autodir/tests/sleeptest");
    for version in 0..12u32 {
        for part in 0..40 {
            env.write(&format!("top/client/tests/sleeptest/part{part}"), &version.to_string());
        }
        run(&env, "upload test:sleeptest --top top --to r --keep-free 0");
        let args =
            ["package", "autotest", "install", "test:sleeptest", "--repo", "r", "--autodir", "autodir"];
        if version > 0 {
            let mut install = env.command(&args);
            let mut install = install.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // Where it is by then is up to the machine; any place is right.
            std::thread::sleep(Duration::from_millis(u64::from(version) * 4));
            install.kill().unwrap();
            install.wait().unwrap();
            let texts: Vec<_> =
                (0..40).map(|part| fs::read_to_string(test.join(format!("part{part}"))).unwrap()).collect();
            let whole = texts.iter().all(|text| *text == texts[0]);
            assert!(whole, "killed in the middle of version {version}: {texts:?}");
            assert!(texts[0] == version.to_string() || texts[0] == (version - 1).to_string(), "{texts:?}");
        }
        let said = env.run(&args);
        assert!(said.ends_with("--- exit 0\n"), "{said}");
        assert_eq!(fs::read_to_string(test.join("part39")).unwrap(), version.to_string());
        assert_eq!(fs::read_dir(env.area().join("autodir/.muster/staging")).unwrap().count(), 0);
    }
}
