//! Repositories elsewhere: web servers, good and hostile, with and without TLS, hosts behind `ssh`, git.

use crate::drive::{World, file, install, nodes, publish, read, write};
use crate::sshd::Host;
use crate::web::{Manner, Web, limits, reach};
use muster_package::own::{Address, Checkout, Limits, Place, Reach, Source, Sources, Tree, Verify, build};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

fn place(world: &World, name: &str) -> Place {
    Place::open(&world.path(name)).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text, Path::new("/")).unwrap()
}

fn impatient() -> Limits {
    Limits {
        answer: Duration::from_millis(300),
        body: Duration::from_millis(300),
        total: Duration::from_secs(2),
        tries: 2,
        ..limits()
    }
}

/// Installs from this alone, and from this with a good mirror behind it.
fn alone_and_with_mirror(world: &World, source: impl Fn() -> Source) -> (Result<(), String>, Vec<String>) {
    let alone = tempfile::tempdir_in(world.dir.path()).unwrap();
    let alone = Place::open(alone.path()).unwrap();
    let sources = Sources::new(vec![source()]);
    let said = install(&alone, &sources, "dep:thing", Verify::Record);
    let said = said.map(|installed| assert_eq!(read(&installed.dir), nodes(1))).map_err(|e| {
        assert_eq!(alone.list().unwrap().len(), 0, "nothing bad is there: {e}");
        e.to_string()
    });
    let dir = tempfile::tempdir_in(world.dir.path()).unwrap();
    let sources = Sources::new(vec![source(), world.repository.source()]);
    let place = Place::open(dir.path()).unwrap();
    let installed = install(&place, &sources, "dep:thing", Verify::Record).unwrap();
    assert_eq!(read(&installed.dir), nodes(1));
    (said, sources.troubles())
}

#[test]
fn a_web_server_may_break_refuse_and_know_no_parts() {
    let world = World::new();
    world.publish("1", &nodes(1));
    for manner in [Manner::Good, Manner::NoParts, Manner::Breaks, Manner::AlwaysBreaks, Manner::Errors] {
        let web = Web::serve(world.repository.root(), manner);
        let (alone, _) = alone_and_with_mirror(&world, || web.source());
        assert_eq!(alone, Ok(()), "{manner:?}");
    }
}

#[test]
fn a_hostile_web_server_is_told_of_and_its_mirror_is_asked() {
    let world = World::new();
    world.publish("1", &nodes(1));
    for (manner, why) in [
        (Manner::Silent, "cannot be reached"),
        (Manner::Drips, "cannot be reached"),
        (Manner::SaysMore, "cannot be reached"),
        (Manner::SaysLess, ""),
        (Manner::OtherPart, ""),
        (Manner::Endless, ""),
        (Manner::Packs, "packed by `gzip`"),
        (Manner::Loops, "too many redirects"),
        (Manner::LeadsToFile, "cannot be reached"),
    ] {
        let web = Web::serve(world.repository.root(), manner);
        let reach = reach(impatient());
        let source = || Source::at(address(&web.url), &reach).unwrap();
        let (alone, troubles) = alone_and_with_mirror(&world, source);
        let said = alone.expect_err(&format!("{manner:?}"));
        assert!(said.contains(why), "{manner:?}: {said}");
        assert!(!troubles.is_empty(), "{manner:?}: it is told");
    }
}

#[test]
fn what_came_before_a_connection_broke_is_not_fetched_again() {
    let world = World::new();
    world.publish("1", &nodes(1));
    let fetch = |manner| {
        let web = Web::serve(world.repository.root(), manner);
        let place = tempfile::tempdir_in(world.dir.path()).unwrap();
        let sources = Sources::new(vec![web.source()]);
        let installed = install(&Place::open(place.path()).unwrap(), &sources, "dep:thing", Verify::Record);
        (installed.unwrap().moved.traffic.bytes, web.asked())
    };
    let (whole, few) = fetch(Manner::Good);
    let (broken, many) = fetch(Manner::AlwaysBreaks);
    assert!(many > few, "it broke: {many}");
    assert_eq!(broken, whole);
}

#[test]
fn a_repository_that_does_not_answer_is_asked_once_and_then_its_mirror() {
    let world = World::new();
    world.publish("1", &nodes(1));
    let silent = Web::serve(world.repository.root(), Manner::Silent);
    let reach = reach(Limits { tries: 1, ..impatient() });
    let all = format!("{}|http://127.0.0.1:9/x|{}", silent.url, world.repository.root().display());
    let sources = Sources::at([all.as_str()], Path::new("/"), &reach).unwrap();
    let installed = install(&world.place, &sources, "dep:thing", Verify::Record).unwrap();
    assert_eq!(read(&installed.dir), nodes(1));
    assert_eq!(silent.asked(), 1);
    assert!(
        sources.troubles().iter().any(|t| t.contains(&silent.url)),
        "it is told: {:?}",
        sources.troubles()
    );
    assert_eq!(sources.addresses(), [all]);
}

/// Of mirrors the first that answers says what there is; of repositories, each.
#[test]
fn a_mirror_is_asked_what_there_is_only_where_the_first_does_not_say() {
    let world = World::new();
    world.publish("1", &nodes(1));
    let web = Web::serve(world.repository.root(), Manner::Good);
    let list = |text: &str| {
        let sources = Sources::at([text], Path::new("/"), &web.reach()).unwrap();
        (sources.list().map(|list| list.len()).map_err(|e| e.to_string()), web.asked())
    };
    let dir = world.repository.root().display();
    assert_eq!(list(&format!("{dir}|{}", web.url)), (Ok(1), 0));
    assert_eq!(list(&format!("/nowhere|{}", web.url)), (Ok(1), 1));
    assert!(list("/nowhere|/neither").0.unwrap_err().contains("/nowhere"));
    let both = [dir.to_string(), web.url.clone()];
    let sources = Sources::at(both.iter().map(String::as_str), Path::new("/"), &web.reach()).unwrap();
    assert_eq!(sources.list().unwrap().len(), 2);
}

#[test]
fn packages_come_over_tls_from_who_is_known_and_from_nobody_else() {
    let world = World::new();
    world.publish("1", &nodes(1));
    let web = Web::serve_tls(world.repository.root(), Manner::Good, &world.path("ca.pem"));
    let other = Web::serve_tls(world.repository.root(), Manner::Good, &world.path("other.pem"));
    let fetch = |url: &str, reach: &Reach| {
        let dir = tempfile::tempdir_in(world.dir.path()).unwrap();
        let sources = Sources::at([url], Path::new("/"), reach).map_err(|e| e.to_string())?;
        let place = Place::open(dir.path()).unwrap();
        let installed = install(&place, &sources, "dep:thing", Verify::Record).map_err(|e| e.to_string())?;
        assert_eq!(read(&installed.dir), nodes(1));
        Ok::<_, String>(())
    };
    assert_eq!(fetch(&web.url, &web.reach()), Ok(()));
    let stranger = fetch(&other.url, &web.reach()).unwrap_err();
    assert!(stranger.contains("of no authority that is known here"), "{stranger}");
    assert_eq!(other.asked(), 0, "nothing is asked of a stranger");
    let plain = fetch(&web.url.replace("https", "http"), &reach(impatient())).unwrap_err();
    assert!(plain.contains("cannot be reached"), "{plain}");
    let down = Web::serve_tls(world.repository.root(), Manner::LeadsToPlain, &world.path("down.pem"));
    let said = fetch(&down.url, &down.reach()).unwrap_err();
    assert!(said.contains("an address without TLS"), "{said}");
    fs::write(world.path("none.pem"), "no certificate").unwrap();
    let none = Reach { ca_file: Some(world.path("none.pem")), ..web.reach() };
    let said = fetch(&web.url, &none).unwrap_err();
    assert!(said.contains("there is no certificate in it"), "{said}");
}

#[test]
fn a_plain_web_server_of_others_will_do() {
    let world = World::new();
    world.publish("1", &nodes(1));
    let mut server = Command::new("python3")
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        .current_dir(world.repository.root())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 is installed by `cargo xtask setup`");
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.split("port ").nth(1).unwrap().split(' ').next().unwrap();
    let source = Source::at(address(&format!("http://127.0.0.1:{port}/")), &reach(limits())).unwrap();
    let installed = install(&world.place, &Sources::new(vec![source]), "dep:thing", Verify::Record);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(read(&installed.unwrap().dir), nodes(1));
}

#[test]
fn a_repository_behind_ssh_is_read_over_one_connection() {
    let host = Host::new();
    let world = World::new();
    // What a shell could take for something else.
    let name = "it's a $(repository)";
    std::os::unix::fs::symlink(world.repository.root(), host.path(name)).unwrap();
    let source = |name: &str| Source::at(address(&host.address(name)), &reach(limits())).unwrap();
    world.publish("1", &nodes(1));
    let first = Sources::new(vec![source(name)]);
    assert_eq!(read(&install(&world.place, &first, "dep:thing", Verify::Record).unwrap().dir), nodes(1));
    world.publish("2", &nodes(2));
    let second = Sources::new(vec![source(name)]);
    let warm = install(&world.place, &second, "dep:thing", Verify::Record).unwrap();
    assert_eq!(read(&warm.dir), nodes(2));
    assert!(warm.moved.traffic.requests > 2 && warm.moved.files_written == 3, "{:?}", warm.moved);
    assert_eq!(host.connections(), 2, "one each");

    let said = Sources::new(vec![source("nowhere")]).list().unwrap_err().to_string();
    assert!(said.contains("there is no directory `") && said.contains("nowhere"), "{said}");
    // What is damaged there is taken from elsewhere.
    for object in fs::read_dir(world.repository.root().join("packs")).unwrap() {
        let bad = host.path("bad");
        Command::new("cp").arg("-r").args([world.repository.root(), &bad]).status().unwrap();
        let object = bad.join("packs").join(object.unwrap().file_name());
        let mut bytes = fs::read(&object).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&object, bytes).unwrap();
        let place = tempfile::tempdir_in(world.dir.path()).unwrap();
        let sources = Sources::new(vec![source("bad"), world.repository.source()]);
        let place = Place::open(place.path()).unwrap();
        let installed = install(&place, &sources, "dep:thing", Verify::Record).unwrap();
        assert_eq!(read(&installed.dir), nodes(2));
        fs::remove_dir_all(&bad).unwrap();
    }
    fs::write(host.path("known_hosts"), "").unwrap();
    let said = Sources::new(vec![source(name)]).list().unwrap_err().to_string();
    assert!(said.contains("Host key verification failed"), "{said}");
}

/// A repository with two commits, of which the second is on a branch, and the identity of the first.
fn git_repository(dir: &Path) -> String {
    fs::create_dir_all(dir).unwrap();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).current_dir(dir);
        let said = git.output().expect("git is installed by `cargo xtask setup`");
        assert!(said.status.success(), "{args:?}: {said:?}");
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q", "-b", "main"]);
    write(&dir.join("client/deps/thing"), &nodes(1));
    write(&dir.join("client/tests/login"), &[(b"control".to_vec(), file("job.run_test('login')\n"))].into());
    // Only what is in git is packed, and an empty directory is not.
    fs::remove_dir_all(dir.join("client/deps/thing/void")).unwrap();
    git(&["add", "-A"]);
    git(&["commit", "-qm", "one"]);
    let first = git(&["rev-parse", "HEAD"]);
    git(&["checkout", "-qb", "feature/x"]);
    write(&dir.join("client/deps/thing"), &[(b"dir1/changed".to_vec(), file("2"))].into());
    git(&["commit", "-qam", "two"]);
    git(&["tag", "v2"]);
    git(&["checkout", "-q", "main"]);
    first
}

#[test]
fn folders_of_a_git_repository_are_packages_as_they_are_on_disk() {
    let world = World::new();
    let first = git_repository(&world.path("git/work"));
    let bare = world.path("git/r.git");
    let cloned =
        Command::new("git").args(["clone", "-q", "--bare"]).args([&world.path("git/work"), &bare]).status();
    assert!(cloned.unwrap().success());
    let web = Web::serve_tls(&world.path("git"), Manner::Good, &world.path("ca.pem"));
    let urls =
        [format!("git+file://{}", bare.display()), format!("git+{}", web.url.replace("/repo", "/git/r.git"))];
    let asked = Mutex::new(Vec::new());
    for url in &urls {
        let reach = Reach { git_dir: world.path("copies"), ..web.reach() };
        let find = |rest: &str, wanted: &str| {
            let text = format!("{url}{rest}");
            asked.lock().unwrap().push(text.clone());
            let sources = Sources::at([text.as_str()], Path::new("/"), &reach).unwrap();
            let found = sources.find(&wanted.parse().unwrap(), &|_| Ok(true)).map_err(|e| e.to_string())?;
            Ok::<_, String>((found.package, sources))
        };
        let main = find("//client@main", "dep:thing").unwrap().0;
        let place = tempfile::tempdir_in(world.dir.path()).unwrap();
        let place = Place::open(place.path()).unwrap();
        let (package, sources) = find("//client@feature/x", "dep:thing").unwrap();
        let installed = place.install(&package, &sources, Default::default()).unwrap();
        let mut as_committed = nodes(1);
        as_committed.remove(&b"void/deep"[..]);
        as_committed.insert(b"dir1/changed".to_vec(), file("2"));
        assert_eq!(read(&installed.dir), as_committed, "{url}");
        // A branch moves on; who is told of it later has what was found now.
        assert!(sources.addresses()[0].starts_with(&format!("{url}//client@")));
        assert!(!sources.addresses()[0].contains("feature"), "{:?}", sources.addresses());
        assert_eq!(find("//client@v2", "dep:thing").unwrap().0, package);
        assert_eq!(find(&format!("//client@{first}"), "dep:thing").unwrap().0, main);
        assert_eq!(find(&format!("//client@{}", &first[..12]), "dep:thing").unwrap().0, main);
        assert_eq!(find("//client", "test:login").unwrap().0.files, 1);
        let all = Sources::at([format!("{url}//client").as_str()], Path::new("/"), &reach).unwrap();
        assert_eq!(all.list().unwrap().len(), 2);
        // The same as the folder on disk.
        let tree = Tree::open(&world.path("git/work/client/deps/thing")).unwrap();
        let about = muster_package::own::About::new(muster_package::own::Kind::Dep, "thing");
        assert_eq!(build(&tree, about).unwrap().manifest.digest(), main.digest);

        let said = find("//client@none", "dep:thing").unwrap_err();
        assert!(said.contains("couldn't find remote ref none"), "{said}");
        let said = find("//nowhere@main", "dep:thing").unwrap_err();
        assert!(said.contains("nowhere"), "{said}");
        let said = find("//client", "dep:other").unwrap_err();
        assert!(said.contains("`dep:other` is not in"), "{said}");
    }
    let other = Web::serve_tls(&world.path("git"), Manner::Good, &world.path("other.pem"));
    let stranger = Reach { git_dir: world.path("copies-2"), ..other.reach() };
    let sources = Sources::at([urls[1].as_str()], Path::new("/"), &stranger).unwrap();
    let said = sources.list().unwrap_err().to_string();
    assert!(said.contains("certificate"), "{said}");
}

#[test]
fn a_git_repository_cannot_lead_out_of_its_folder() {
    let world = World::new();
    let dir = world.path("evil");
    git_repository(&dir);
    fs::create_dir_all(dir.join("dep")).unwrap();
    std::os::unix::fs::symlink("/etc", dir.join("dep/etc")).unwrap();
    std::os::unix::fs::symlink("/etc", dir.join("up")).unwrap();
    for args in [&["add", "-A"][..], &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]] {
        assert!(Command::new("git").args(args).current_dir(&dir).status().unwrap().success());
    }
    let reach = Reach::new(world.path("copies"));
    let url = format!("git+file://{}", dir.display());
    let sources = Sources::at([url.as_str()], Path::new("/"), &reach).unwrap();
    assert!(sources.list().unwrap().iter().all(|found| found.package.name != "etc"), "a link is no folder");
    let Address::Git(up) = address(&format!("{url}//up")) else { panic!("it is git") };
    let said = Checkout::of(&up, &reach).unwrap_err().to_string();
    assert!(said.contains("a folder `up` is not in"), "{said}");
}

#[test]
fn something_is_published_from_one_kind_of_repository_to_another() {
    let world = World::new();
    publish(&world.repository, &world.path("tree"), "1", &nodes(1));
    let host = Host::new();
    std::os::unix::fs::symlink(world.repository.root(), host.path("r")).unwrap();
    let sources = Sources::new(vec![Source::at(address(&host.address("r")), &reach(limits())).unwrap()]);
    let other = muster_package::own::Repository::create(&world.path("other")).unwrap();
    for found in sources.list().unwrap() {
        other.copy(&sources, &found.package).unwrap();
    }
    assert_eq!(other.verify().unwrap(), Vec::<String>::new());
    let installed =
        install(&place(&world, "p"), &Sources::new(vec![other.source()]), "dep:thing", Verify::Record);
    assert_eq!(read(&installed.unwrap().dir), nodes(1));
}
