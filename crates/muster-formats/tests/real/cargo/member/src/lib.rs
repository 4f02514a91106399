#[test]
fn runs_in_its_own_directory() {
    assert!(std::env::current_dir().unwrap().ends_with("member"));
}
