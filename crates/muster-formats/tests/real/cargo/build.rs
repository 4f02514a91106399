fn main() {
    println!("cargo::rustc-env=FROM_BUILD_SCRIPT=yes");
    println!("cargo::rerun-if-changed=build.rs");
}
