//! What is had from which repository, and what is not believed.

use crate::site::{Python, Reply, Site};
use crate::world::{files, published, said, sources};
use muster_package::autotest::{Cache, Md5};
use std::fs;
use std::path::Path;
use std::process::Command;

const FILE: &str = "test-x.tar.bz2";

fn cache(dir: &Path) -> Cache {
    Cache::open(&dir.join("cache")).unwrap()
}

/// Makes a list that says something about files whatever they are.
fn list(repository: &Path, lines: &[(Md5, &str)]) {
    let text: String = lines.iter().map(|(sum, name)| format!("{sum} {name}\n")).collect();
    fs::write(repository.join("packages.checksum"), text).unwrap();
}

#[test]
fn a_package_is_had_from_a_web_server_once_and_then_from_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let built = published(&dir.path().join("r"), "test:x", "1");
    let server = Python::serve(&dir.path().join("r"));
    let cache = cache(dir.path());
    let first = sources([&*server.url]).fetch(FILE, &cache).unwrap();
    assert_eq!((first.is.md5, first.is.digest, first.moved), (built.md5, built.digest, true));
    assert_eq!(first.repository, server.url);
    assert!(!sources([&*server.url]).fetch(FILE, &cache).unwrap().moved);
    // And by the programs that Autotest's clients call.
    let to = dir.path().join("by-wget");
    said(
        Command::new("wget")
            .args(["-q", "--connect-timeout=15", "-O"])
            .arg(&to)
            .arg(format!("{}/{FILE}", server.url)),
    );
    assert!(said(Command::new("md5sum").arg(&to)).starts_with(&built.md5.to_string()));
}

/// Row 2: a published sum that is not that of the bytes is taken, and overwritten.
#[test]
fn row_2_bytes_that_are_not_what_was_published_are_refused_and_the_next_repository_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (bad, good) = (dir.path().join("bad"), dir.path().join("good"));
    let other = published(&bad, "test:x", "other");
    let wrong = Md5::of(b"wrong");
    list(&bad, &[(wrong, FILE)]);
    let cache = cache(dir.path());
    let bad = bad.to_str().unwrap();
    let refused = sources([bad]).fetch(FILE, &cache).unwrap_err().to_string();
    assert!(refused.contains(&other.md5.to_string()) && refused.contains(&wrong.to_string()), "{refused}");
    assert_eq!(cache.measure(FILE).unwrap(), None, "nothing of it is kept");
    let built = published(&good, "test:x", "good");
    let fetched = sources([bad, good.to_str().unwrap()]).fetch(FILE, &cache).unwrap();
    assert_eq!((fetched.is.md5, &*fetched.repository), (built.md5, good.to_str().unwrap()));
    let sums = fs::read_to_string(dir.path().join("bad/packages.checksum")).unwrap();
    assert_eq!(sums, format!("{wrong} {FILE}\n"), "a repository is not changed by those who read it");
}

/// Row 4: an error page that comes as content.
#[test]
fn row_4_an_error_page_is_no_package() {
    let dir = tempfile::tempdir().unwrap();
    let (pages, good) = (dir.path().join("pages"), dir.path().join("good"));
    files(&pages, &[(FILE, "<html>404</html>"), ("packages.checksum", "<html>404</html>")]);
    let built = published(&good, "test:x", "good");
    let server = Python::serve(&pages);
    let mut sources = sources([&*server.url, good.to_str().unwrap()]);
    assert_eq!(sources.fetch(FILE, &cache(dir.path())).unwrap().is.md5, built.md5);
    let remarks = sources.remarks();
    assert_eq!(remarks.len(), 1);
    assert!(remarks[0].1.contains("a page in HTML"), "{remarks:?}");
    let alone = crate::world::sources([&*server.url]).fetch(FILE, &cache(&dir.path().join("2"))).unwrap_err();
    assert!(alone.to_string().contains("no `.tar.bz2`"), "{alone}");
}

/// Row 5: where a program is called for it, it may end well without having written anything.
#[test]
fn row_5_an_answer_without_a_file_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    published(&dir.path().join("r"), "test:x", "1");
    let site = Site::new(&dir.path().join("r"), |name, _| match name {
        FILE => Reply::Silence,
        _ => Reply::File,
    });
    let cache = cache(dir.path());
    assert!(sources([&*site.url]).fetch(FILE, &cache).is_err());
    assert_eq!(cache.measure(FILE).unwrap(), None);
}

/// Row 6: a repository whose listing is forbidden is skipped by clients that look at it first.
#[test]
fn row_6_a_repository_is_asked_for_files_and_not_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    published(&dir.path().join("r"), "test:x", "1");
    let site = Site::new(&dir.path().join("r"), |name, _| match name {
        "" => Reply::Page(403),
        _ => Reply::File,
    });
    sources([&*site.url]).fetch(FILE, &cache(dir.path())).unwrap();
    assert_eq!(site.asked(), ["packages.checksum", "packages.revoked", FILE]);
}

/// Row 7: each package waits for the dead host anew.
#[test]
fn row_7_a_dead_repository_is_remembered_for_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    for name in ["test:x", "test:y", "test:z"] {
        published(&good, name, "1");
    }
    let dead = Site::new(dir.path(), |_, _| Reply::Page(503));
    let mut sources = sources([&*dead.url, good.to_str().unwrap()]);
    for name in ["x", "y", "z"] {
        sources.fetch(&format!("test-{name}.tar.bz2"), &cache(dir.path())).unwrap();
    }
    assert_eq!(dead.asked(), ["packages.checksum"; 3], "three tries for the list, and never again");
    let why = sources.fetch("test-none.tar.bz2", &cache(dir.path())).unwrap_err().to_string();
    assert!(
        why.contains("503 Service Unavailable (3 tries)") && why.contains("there is no such file"),
        "{why}"
    );
    assert_eq!(dead.asked().len(), 3);
}

/// Row 8: without a list everything is downloaded in each job.
#[test]
fn row_8_without_a_list_a_package_moves_only_when_it_changed() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    let first = published(&repository, "test:x", "1");
    fs::remove_file(repository.join("packages.checksum")).unwrap();
    let site = Site::new(&repository, |_, _| Reply::File);
    let python = Python::serve(&repository);
    for url in [&*site.url, &*python.url, repository.to_str().unwrap()] {
        fs::remove_dir_all(dir.path().join("cache")).ok();
        let cache = cache(dir.path());
        assert!(sources([url]).fetch(FILE, &cache).unwrap().moved, "{url}");
        let again = sources([url]).fetch(FILE, &cache).unwrap();
        assert_eq!((again.is.md5, again.moved), (first.md5, false), "{url}");
    }
    assert!(site.asked().contains(&format!("{FILE} if changed")));
    let second = published(&repository, "test:x", "2");
    fs::remove_file(repository.join("packages.checksum")).unwrap();
    let fetched = sources([&*site.url]).fetch(FILE, &cache(dir.path())).unwrap();
    assert_eq!((fetched.is.md5, fetched.moved), (second.md5, true));
}

/// Row 9: the one list of the first repository is held against the packages of all.
#[test]
fn row_9_each_repository_is_judged_by_its_own_list() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    published(&one, "test:x", "1");
    let y = published(&two, "test:y", "1");
    let cache = cache(dir.path());
    let locations = || sources([one.to_str().unwrap(), two.to_str().unwrap()]);
    let fetched = locations().fetch("test-y.tar.bz2", &cache).unwrap();
    assert_eq!((fetched.is.md5, &*fetched.repository), (y.md5, two.to_str().unwrap()));
    assert!(!locations().fetch("test-y.tar.bz2", &cache).unwrap().moved, "not again in each job");
}

/// Row 14: of one name in two repositories the first wins, and the sums are confused.
#[test]
fn row_14_one_name_in_two_repositories_is_two_packages() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let (first, second) = (published(&one, "test:x", "1"), published(&two, "test:x", "2"));
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let cache = cache(dir.path());
    for (order, is) in [([one, two], first.md5), ([two, one], second.md5), ([one, two], first.md5)] {
        let fetched = sources(order).fetch(FILE, &cache).unwrap();
        assert_eq!((fetched.is.md5, &*fetched.repository, fetched.moved), (is, order[0], true));
        assert!(!sources(order).fetch(FILE, &cache).unwrap().moved);
    }
}

/// Row 34: where the server goes away in the middle, the rest is fetched when it is back.
#[test]
fn row_34_a_download_that_broke_off_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let built = published(&dir.path().join("r"), "test:x", &"a long text".repeat(1000));
    let site = Site::new(&dir.path().join("r"), |name, before| match (name, before) {
        (FILE, 0) => Reply::Cut(40),
        (FILE, 1) => Reply::Page(503),
        _ => Reply::File,
    });
    let fetched = sources([&*site.url]).fetch(FILE, &cache(dir.path())).unwrap();
    assert_eq!(fetched.is.md5, built.md5);
    let from = format!("{FILE} from 40");
    assert_eq!(site.asked()[2..], [FILE.to_owned(), from.clone(), from]);
}

#[test]
fn what_breaks_off_each_time_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    published(&dir.path().join("r"), "test:x", "1");
    let site = Site::new(&dir.path().join("r"), |name, _| match name {
        FILE => Reply::Cut(10),
        _ => Reply::File,
    });
    let why = sources([&*site.url]).fetch(FILE, &cache(dir.path())).unwrap_err().to_string();
    assert!(why.contains("(3 tries)"), "{why}");
}

/// A list that was read before somebody published another version is read again.
#[test]
fn what_is_published_in_the_middle_of_a_job_is_what_it_is_published_as() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    published(&repository, "test:x", "1");
    let mut sources = sources([repository.to_str().unwrap()]);
    sources.candidates(FILE);
    let second = published(&repository, "test:x", "2");
    assert_eq!(sources.fetch(FILE, &cache(dir.path())).unwrap().is.md5, second.md5);
}

#[test]
fn entries_that_got_lost_do_not_hide_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    let built = published(&repository, "test:x", "1");
    list(&repository, &[(Md5::of(b"y"), "test-y.tar.bz2")]);
    let fetched = sources([repository.to_str().unwrap()]).fetch(FILE, &cache(dir.path())).unwrap();
    assert_eq!(fetched.is.md5, built.md5);
    // And one that is listed and not there says so.
    let why =
        sources([repository.to_str().unwrap()]).fetch("test-y.tar.bz2", &cache(dir.path())).unwrap_err();
    assert!(why.to_string().ends_with("there is no such file"), "{why}");
}

#[test]
fn secrets_in_an_address_are_told_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path(), |_, _| Reply::Silence);
    let url = site.url.replace("http://", "http://ana:secret@");
    let why = sources([&*url]).fetch(FILE, &cache(dir.path())).unwrap_err().to_string();
    assert!(!why.contains("secret") && why.contains(&site.url), "{why}");
}
