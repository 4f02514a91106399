//! Repositories that are written over HTTP: by nginx with its WebDAV module, and by a server that minds conditions, as
//! Apache's does.

use crate::site::{Dav, Nginx, Python};
use crate::world::{built, files, limits, published};
use muster_package::autotest::{
    Autodir, Checksums, How, Location, Options, PublishError, Put, Sources, remove, upload, verify,
};
use std::fs;
use std::path::{Path, PathBuf};

const FILE: &str = "test-x.tar.bz2";

fn sums(repository: &Path) -> Checksums {
    Checksums::read(&fs::read(repository.join("packages.checksum")).unwrap()).unwrap().0
}

/// A package of one file, ready to be published.
fn package(dir: &Path, name: &str, text: &str) -> PathBuf {
    files(&dir.join("from"), &[("x.py", text)]);
    built(&format!("test:{name}"), &dir.join("from"), &dir.join("out"));
    dir.join("out").join(format!("test-{name}.tar.bz2"))
}

#[test]
fn a_repository_behind_nginx_is_written_read_and_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let nginx = Nginx::serve(dir.path(), "dav_methods PUT DELETE; create_full_put_path on;");
    // A directory that is made by the first upload, and a name that is another one when it is encoded.
    let (repository, at) = (dir.path().join("www/new/r"), nginx.location("new/r"));
    let put = |file: &Path| upload(&at, &[file.to_owned()], 0, &limits()).unwrap();
    let file = package(dir.path(), "x", "1");
    assert_eq!(put(&file), [(FILE.to_owned(), Put::Moved)]);
    assert_eq!(put(&file), [(FILE.to_owned(), Put::Unchanged)]);
    assert_eq!(put(&package(dir.path(), "x+y", "1")), [("test-x+y.tar.bz2".to_owned(), Put::Moved)]);
    let mut names: Vec<_> = fs::read_dir(&repository).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["packages.checksum", "test-x+y.tar.bz2", FILE]);
    assert_eq!(sums(&repository).len(), 2, "an upload keeps the entries of others");
    assert_eq!(verify(&at, &sums(&repository), &limits()).unwrap(), []);

    let autodir = Autodir::open(&dir.path().join("autotest")).unwrap();
    let install = || {
        let mut from = Sources::new([at.clone()], limits());
        autodir.install(&"test:x".parse().unwrap(), &mut from, &Options::default()).unwrap()
    };
    assert_eq!((install().how, install().how), (How::New, How::Unchanged));
    // What is listed and was lost there is brought again, and what is edited is another.
    fs::remove_file(repository.join(FILE)).unwrap();
    assert_eq!(put(&file), [(FILE.to_owned(), Put::Moved)]);
    assert_eq!(put(&package(dir.path(), "x", "2")), [(FILE.to_owned(), Put::Moved)]);
    assert_eq!(install().how, How::New);

    remove(&at, FILE, false, &limits()).unwrap();
    assert!(!repository.join(FILE).exists() && sums(&repository).get(FILE).is_none());
    assert!(matches!(remove(&at, FILE, false, &limits()), Err(PublishError::Absent { .. })));
    // What is listed is there at every moment: files come before their entry, and go after it.
    let asked = nginx.asked();
    let asked: Vec<&str> = asked.iter().map(String::as_str).filter(|a| !a.starts_with("GET")).collect();
    assert_eq!(asked[..2], ["PUT /new/r/test-x.tar.bz2", "PUT /new/r/packages.checksum"]);
    assert!(asked.contains(&"PUT /new/r/test-x+y.tar.bz2"), "{asked:?}");
    let gone = asked.iter().position(|a| *a == "DELETE /new/r/test-x.tar.bz2").unwrap();
    assert_eq!(asked[gone - 1], "PUT /new/r/packages.checksum");
}

/// Row 33 over HTTP.
#[test]
fn row_33_a_web_server_that_takes_no_files_says_so_and_has_what_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let file = package(dir.path(), "x", "1");
    let why = |at: &Location| upload(at, std::slice::from_ref(&file), 0, &limits()).unwrap_err();
    for (rules, expected) in [
        ("", "have it allow PUT and DELETE"),
        ("dav_methods PUT; client_max_body_size 16;", "takes no files of this length"),
        ("dav_methods PUT; limit_except GET { deny all; }", "does not let you write"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let nginx = Nginx::serve(dir.path(), rules);
        let repository = dir.path().join("www/r");
        let old = published(&repository, "test:x", "old");
        published(&repository, "test:y", "old");
        let error = why(&nginx.location("r"));
        let said = error.to_string();
        assert!(matches!(error, PublishError::Refused { .. }) && said.contains(expected), "{rules}: {said}");
        let error = remove(&nginx.location("r"), FILE, false, &limits()).unwrap_err();
        assert!(matches!(error, PublishError::Refused { .. }), "{error}");
        assert_eq!(sums(&repository).get(FILE), Some(old.md5), "{rules}");
        assert!(repository.join(FILE).exists());
    }
    let python = Python::serve(dir.path());
    let said = why(&python.url.parse().unwrap()).to_string();
    assert!(said.contains("have it allow PUT and DELETE"), "{said}");
    // A list that is none is nobody's to write over.
    let dir = tempfile::tempdir().unwrap();
    let nginx = Nginx::serve(dir.path(), "dav_methods PUT;");
    files(&dir.path().join("www/r"), &[("packages.checksum", "<html><body>not found</body></html>\n")]);
    assert!(matches!(why(&nginx.location("r")), PublishError::Io { .. }));
}

/// Row 12 over HTTP, where the server minds conditions.
#[test]
fn row_12_packagers_at_one_web_server_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("www")).unwrap();
    let dav = Dav::serve(&dir.path().join("www"));
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (own, at) = (dir.path().join(format!("own{n}")), dav.url.parse::<Location>().unwrap());
            scope.spawn(move || {
                for m in 0..4 {
                    let file = package(&own, &format!("p{n}-{m}"), "1");
                    upload(&at, &[file], 0, &limits()).unwrap();
                }
                remove(&at, &format!("test-p{n}-0.tar.bz2"), false, &limits()).unwrap();
            });
        }
    });
    let repository = dir.path().join("www");
    assert_eq!(sums(&repository).len(), 12);
    let at = dav.url.parse().unwrap();
    assert_eq!(verify(&at, &sums(&repository), &limits()).unwrap(), []);
}
