//! How long delivery takes inside, without a program's start: a folder is published, its repository installed
//! from a directory or a URL.
//!
//! ```text
//! deliver_floor publish FOLDER REPOSITORY VERSION
//! deliver_floor install REPOSITORY-OR-URL PLACE [bytes]
//! ```

use muster_package::exclude::Exclude;
use muster_package::own::{About, InstallOptions, Kind, Place, Reach, Repository, Sources, Tree, Verify};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let begin = Instant::now();
    match args[..] {
        ["publish", dir, repository, version] => {
            let tree = Tree { dir: dir.into(), exclude: Exclude::default() };
            let about = About { version: version.to_owned(), ..About::new(Kind::Dep, "tree") };
            let repository = Repository::create(Path::new(repository)).expect("a repository");
            let upload = repository.build(&tree, about).expect("it can be published");
            say(&format!("{} ms {upload:?}", begin.elapsed().as_millis()));
        }
        ["install", from, place, ref more @ ..] => {
            let verify = if more == ["bytes"] { Verify::Bytes } else { Verify::Record };
            let reach = Reach::new(std::env::temp_dir());
            let sources = Sources::at([from], Path::new("."), &reach).expect("a repository");
            let wanted = "dep:tree".parse().expect("it is a name");
            let steps = Mutex::new(vec![(begin, "start")]);
            let on_step = |name| steps.lock().expect("nobody panics").push((Instant::now(), name));
            let place = Place::open(Path::new(place)).expect("a place");
            let found = sources.find(&wanted, &|_| Ok(true)).expect("it is published");
            on_step("found");
            let options = InstallOptions { verify, on_step: Some(&on_step), ..InstallOptions::default() };
            let installed = place.install(&found.package, &sources, options).expect("it can be installed");
            let steps = steps.into_inner().expect("nobody panics");
            for pair in steps.windows(2) {
                say(&format!("  {:>7.1} ms {}", (pair[1].0 - pair[0].0).as_secs_f64() * 1e3, pair[0].1));
            }
            say(&format!("{:.1} ms {:?}", begin.elapsed().as_secs_f64() * 1e3, installed.moved));
        }
        _ => say("publish FOLDER REPOSITORY VERSION | install REPOSITORY-OR-URL PLACE [bytes]"),
    }
}

#[expect(clippy::print_stdout, reason = "figures are what this is for")]
fn say(text: &str) {
    println!("{text}");
}
