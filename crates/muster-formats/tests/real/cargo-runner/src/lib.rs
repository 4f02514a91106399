#[test]
fn knows_its_package() {
    assert_eq!(std::env::var("CARGO_PKG_NAME").unwrap(), "configured");
}
