use proc_macro::TokenStream;

#[proc_macro]
pub fn nothing(input: TokenStream) -> TokenStream {
    input
}

#[test]
fn has_what_cargo_config_says() {
    assert_eq!(std::env::var("FROM_CARGO_CONFIG").unwrap(), "set");
}
