//! Doc tests are a limit: they are not items.
//!
//! ```
//! assert!(true);
//! ```

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    #[test]
    fn passes() {}

    #[test]
    fn sees_what_cargo_sets() {
        assert_eq!(std::env::var("CARGO_PKG_NAME").unwrap(), "hostile");
        assert_eq!(std::env::var("CARGO_PKG_VERSION_PRE").unwrap(), "rc.1");
        assert!(std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("build.rs").exists());
        assert!(std::path::Path::new(&std::env::var("OUT_DIR").unwrap()).is_dir());
        assert!(std::path::Path::new("Cargo.toml").exists());
    }

    #[test]
    fn fails() {
        println!("what it printed");
        println!("---- tests::passes stdout ----");
        println!("\nfailures:\n");
        assert_eq!(1 + 1, 3, "sums are off");
    }

    #[test]
    fn fails_again() {
        println!("again");
        panic!("two\nlines");
    }

    #[test]
    fn is_an_error() -> Result<(), String> {
        Err("no such thing".to_owned())
    }

    #[test]
    #[should_panic]
    fn should_panic_and_does() {
        panic!("as it should");
    }

    #[test]
    #[should_panic(expected = "mercy")]
    fn should_panic_and_does_not() {}

    #[test]
    #[ignore]
    fn is_ignored() {}

    #[test]
    #[ignore = "too slow, really"]
    fn is_ignored_with_a_reason() {}

    #[test]
    fn writes_past_the_capture_without_a_newline() {
        std::io::stdout().write_all(b"no newline, ok").unwrap();
        std::io::stdout().flush().unwrap();
    }

    #[test]
    fn writes_what_looks_like_a_verdict() {
        std::io::stdout().write_all(b"everything ok\n\nfailures:\nFAILED\ntest tests::zz ... ok\nok\n").unwrap();
        std::io::stdout().flush().unwrap();
    }

    #[test]
    fn writes_to_stderr_past_the_capture() {
        std::io::stderr().write_all(b"to stderr\n").unwrap();
    }

    #[test]
    fn zz_ünïcode_名前() {}
}

#[cfg(test)]
mod deep {
    mod module {
        #[test]
        fn nested() {}
    }
}
