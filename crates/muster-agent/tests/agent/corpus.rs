//! Everything that a fuzzer found worth keeping, and everything that ever broke a reader, is read again, by the
//! same functions that the fuzzer calls (`cargo xtask fuzz`).

#[path = "../../../../fuzz/harness.rs"]
mod harness;

use std::path::Path;

#[test]
fn readers_of_what_comes_from_outside_hold_against_the_whole_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, reader) in harness::READERS {
        let mut count = 0;
        for entry in std::fs::read_dir(corpus.join(name)).expect("each reader has a folder in fuzz/corpus") {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                std::panic::catch_unwind(|| reader(&bytes)).is_ok(),
                "`{}` breaks the reader",
                path.display()
            );
            count += 1;
        }
        assert!(count > 0, "fuzz/corpus/{name} is empty");
    }
}
