//! What gets into repositories, and out of them.

use crate::world::{built, files, limits, published, said, sources};
use muster_package::autotest::{
    Cache, Checksums, Location, Md5, PublishError, Put, prune, remove, upload, verify,
};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const FILE: &str = "test-x.tar.bz2";

fn sums(repository: &Path) -> Checksums {
    Checksums::read(&fs::read(repository.join("packages.checksum")).unwrap()).unwrap().0
}

fn at(repository: &Path) -> Location {
    Location::Dir(repository.to_owned())
}

#[test]
fn a_repository_is_what_web_servers_and_old_clients_expect() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("new/r");
    let b = published(&repository, "test:b", "1");
    let a = published(&repository, "dep:a", "1");
    let mut names: Vec<_> = fs::read_dir(&repository).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["dep-a.tar.bz2", "packages.checksum", "test-b.tar.bz2"], "flat, and nothing else");
    for name in names {
        let mode = fs::metadata(repository.join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{name:?}");
    }
    let text = fs::read_to_string(repository.join("packages.checksum")).unwrap();
    assert_eq!(text, format!("{} dep-a.tar.bz2\n{} test-b.tar.bz2\n", a.md5, b.md5));
    let check =
        Command::new("md5sum").arg("-c").arg("packages.checksum").current_dir(&repository).output().unwrap();
    // `md5sum` wants two blanks; the sums are right with them.
    drop(check);
    fs::write(dir.path().join("two"), text.replace(' ', "  ")).unwrap();
    said(Command::new("md5sum").arg("-c").arg(dir.path().join("two")).current_dir(&repository));
    assert_eq!(verify(&at(&repository), &sums(&repository), &limits()).unwrap(), []);
}

#[test]
fn what_is_there_is_not_moved_again() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    files(&dir.path().join("from"), &[("x.py", "1")]);
    built("test:x", &dir.path().join("from"), dir.path());
    let package = [dir.path().join(FILE)];
    let put = || upload(&at(&repository), &package, 0, &limits()).unwrap();
    assert_eq!(put(), [(FILE.to_owned(), Put::Moved)]);
    assert_eq!(put(), [(FILE.to_owned(), Put::Unchanged)]);
    fs::write(repository.join(FILE), "damaged").unwrap();
    assert_eq!(put(), [(FILE.to_owned(), Put::Moved)], "what is listed is looked at");
}

/// Row 12: two packagers at once lose each other's entries.
#[test]
fn row_12_two_packagers_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    std::thread::scope(|scope| {
        for one in 0..4 {
            let repository = &repository;
            scope.spawn(move || {
                for number in 0..10 {
                    published(repository, &format!("test:t{one}-{number}"), "1");
                }
            });
        }
        // Whoever reads meanwhile never has half a list, or an entry without its file.
        let mut seen = 0;
        while seen < 40 {
            let Ok(bytes) = fs::read(repository.join("packages.checksum")) else { continue };
            let (sums, remarks) = Checksums::read(&bytes).unwrap();
            assert_eq!(remarks, []);
            assert!(sums.iter().all(|(file, _)| repository.join(file).exists()));
            assert!(sums.len() >= seen, "an entry was lost");
            seen = sums.len();
        }
    });
    assert_eq!(verify(&at(&repository), &sums(&repository), &limits()).unwrap(), []);
}

/// A lock that others hold is waited for: `flock DIRECTORY packager …` is how the field does it.
#[test]
fn whoever_holds_the_directory_with_flock_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    published(&repository, "test:x", "1");
    let script = "exec 9< .; flock 9; echo held; cat > /dev/null; echo late >> order";
    let mut holder = Command::new("sh");
    holder.args(["-c", script]).current_dir(&repository);
    let mut holder =
        holder.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut line).unwrap();
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| published(&repository, "test:y", "1"));
        // It cannot be done before this; how long it waits is not measured.
        std::thread::sleep(Duration::from_millis(100));
        assert!(!publisher.is_finished());
        assert_eq!(sums(&repository).len(), 1);
        drop(holder.stdin.take());
        holder.wait().unwrap();
        publisher.join().unwrap();
    });
    assert_eq!(sums(&repository).len(), 2);
}

/// Row 13: everything, then one, and the list has one.
#[test]
fn row_13_one_upload_keeps_the_entries_of_all_others() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    fs::create_dir(&repository).unwrap();
    // As `packager upload --all` leaves it: written by `md5sum *`, with no working copy anywhere.
    for number in 0..38 {
        fs::write(repository.join(format!("test-t{number}.tar.bz2")), number.to_string()).unwrap();
    }
    said(Command::new("sh").args(["-c", "md5sum * > packages.checksum"]).current_dir(&repository));
    published(&repository, "test:x", "1");
    assert_eq!(sums(&repository).len(), 39);
    let text = fs::read_to_string(repository.join("packages.checksum")).unwrap();
    assert!(!text.contains("  "), "one blank");
}

/// Row 33: an upload to an impossible place ends well.
#[test]
fn row_33_an_upload_that_cannot_be_done_says_so() {
    let dir = tempfile::tempdir().unwrap();
    files(&dir.path().join("from"), &[("x.py", "1")]);
    built("test:x", &dir.path().join("from"), dir.path());
    let package = [dir.path().join(FILE)];
    let tried = |location: &str, keep_free| {
        upload(&location.parse().unwrap(), &package, keep_free, &limits()).unwrap_err()
    };
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(tried(file.to_str().unwrap(), 0), PublishError::Io { .. }));
    let http = tried("http://127.0.0.1:1/packages", 0).to_string();
    assert!(http.starts_with("`http://127.0.0.1:1/packages`: ") && http.contains("refused"), "{http}");
    let repository = dir.path().join("r");
    assert!(matches!(tried(repository.to_str().unwrap(), u64::MAX), PublishError::NoRoom { .. }));
    assert!(!repository.join(FILE).exists());
    let odd = dir.path().join("a b");
    fs::write(&odd, "").unwrap();
    let odd = upload(&at(&repository), &[odd], 0, &limits()).unwrap_err();
    assert!(matches!(odd, PublishError::Name(_)), "{odd}");
}

#[test]
fn what_is_no_list_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    files(&repository, &[("packages.checksum", "<html>")]);
    files(&dir.path().join("from"), &[("x.py", "1")]);
    built("test:x", &dir.path().join("from"), dir.path());
    let why = upload(&at(&repository), &[dir.path().join(FILE)], 0, &limits()).unwrap_err().to_string();
    assert!(why.contains("a page in HTML"), "{why}");
    assert_eq!(fs::read_to_string(repository.join("packages.checksum")).unwrap(), "<html>");
}

/// Row 15: a package that was removed lives on in every cache.
#[test]
fn row_15_what_is_revoked_is_used_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (bad, other) = (dir.path().join("r"), dir.path().join("other"));
    let built = published(&bad, "test:x", "1");
    fs::create_dir(&other).unwrap();
    fs::copy(bad.join(FILE), other.join(FILE)).unwrap();
    let cache = Cache::open(&dir.path().join("cache")).unwrap();
    let locations = || sources([bad.to_str().unwrap(), other.to_str().unwrap()]);
    locations().fetch(FILE, &cache).unwrap();
    let removed = remove(&at(&bad), FILE, true, &limits()).unwrap();
    assert_eq!(removed.md5, Some(built.md5));
    let why = locations().fetch(FILE, &cache).unwrap_err().to_string();
    assert!(why.contains("was revoked"), "{why}");
    // Without it, the other repository's copy serves.
    fs::remove_file(bad.join("packages.revoked")).unwrap();
    assert_eq!(locations().fetch(FILE, &cache).unwrap().is.md5, built.md5);
}

#[test]
fn what_is_removed_is_neither_there_nor_listed() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    published(&repository, "test:x", "1");
    remove(&at(&repository), FILE, false, &limits()).unwrap();
    assert!(!repository.join(FILE).exists());
    assert_eq!(fs::read_to_string(repository.join("packages.checksum")).unwrap(), "\n");
    let again = remove(&at(&repository), FILE, false, &limits()).unwrap_err();
    assert!(matches!(again, PublishError::Absent { .. }), "{again}");
    // An entry whose file somebody took away can be removed too.
    published(&repository, "test:x", "1");
    fs::remove_file(repository.join(FILE)).unwrap();
    remove(&at(&repository), FILE, false, &limits()).unwrap();
    assert!(sums(&repository).is_empty());
}

/// Row 28: files are pruned by when they were last read, and their entries stay.
#[test]
fn row_28_pruning_goes_by_when_something_was_published_and_takes_its_entry() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    for name in ["old", "kept", "new"] {
        published(&repository, &format!("test:{name}"), "1");
    }
    for name in ["old", "kept"] {
        // Read this moment, published long ago.
        let path = repository.join(format!("test-{name}.tar.bz2"));
        said(Command::new("touch").args(["-m", "-d", "50 days ago"]).arg(path));
    }
    said(Command::new("touch").args(["-a", "-d", "50 days ago"]).arg(repository.join("test-new.tar.bz2")));
    let keep = BTreeSet::from(["test-kept.tar.bz2".to_owned()]);
    let age = Duration::from_secs(40 * 86_400);
    let names = |dry_run| -> Vec<String> {
        prune(&at(&repository), age, &keep, dry_run).unwrap().into_iter().map(|r| r.file).collect()
    };
    assert_eq!(names(true), ["test-old.tar.bz2"]);
    assert_eq!(sums(&repository).len(), 3, "a dry run changes nothing");
    assert_eq!(names(false), ["test-old.tar.bz2"]);
    assert_eq!(sums(&repository).len(), 2);
    assert_eq!(verify(&at(&repository), &sums(&repository), &limits()).unwrap(), []);
}

#[test]
fn a_repository_that_is_damaged_is_told_file_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    for name in ["a", "b", "c"] {
        published(&repository, &format!("test:{name}"), "1");
    }
    fs::write(repository.join("test-a.tar.bz2"), "x").unwrap();
    fs::remove_file(repository.join("test-b.tar.bz2")).unwrap();
    fs::write(repository.join("kernel.rpm"), "x").unwrap();
    let published = sums(&repository).get("test-a.tar.bz2").unwrap();
    let wrong = verify(&at(&repository), &sums(&repository), &limits()).unwrap();
    let wrong: Vec<_> = wrong.into_iter().map(|d| format!("{}: {}", d.file, d.why)).collect();
    assert_eq!(
        wrong,
        [
            "kernel.rpm: it is there and not listed".to_owned(),
            format!("test-a.tar.bz2: it is {}, and the list says {published}", Md5::of(b"x")),
            "test-b.tar.bz2: there is no such file".to_owned(),
        ]
    );
}
