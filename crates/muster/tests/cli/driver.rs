//! `muster driver check`, with a driver that keeps its promises and one that does not.

use crate::env::TestEnv;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

#[test]
fn a_driver_is_told_which_promises_it_keeps() {
    let env = TestEnv::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/driver/driver.py");
    let text = std::fs::read_to_string(example).unwrap();
    let check = |text: &str, only: &str| {
        env.write("my-driver", text);
        let path = env.area().join("my-driver");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let said = env
            .command(&["driver", "check", "./my-driver", "--device", "x", "--only", only])
            .output()
            .unwrap();
        (said.status.code(), env.tell(&said))
    };
    let (code, said) = check(&text, "exit_codes_are_true");
    assert!(code == Some(0) && said.contains("PASS  exit codes are true"), "{said}");
    assert!(said.contains("1 of 1 promises are kept by `ext:"), "{said}");
    let broken = text.replace(r#"{"code": code}"#, r#"{"code": 0}"#);
    assert_ne!(broken, text);
    let (code, said) = check(&broken, "exit_codes_are_true");
    assert!(code == Some(1) && said.contains("FAIL  exit codes are true"), "{said}");
    assert!(said.contains("left: Code(0)") && said.contains("right: Code(1)"), "{said}");
}
