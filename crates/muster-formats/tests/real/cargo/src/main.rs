fn main() {}

#[test]
fn in_the_binary() {
    assert_eq!(option_env!("FROM_BUILD_SCRIPT"), Some("yes"));
}
