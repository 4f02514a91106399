#[test]
fn a_passes() {}

#[test]
fn b_aborts() {
    eprintln!("captured, and lost");
    std::process::abort();
}

#[test]
fn c_is_never_reached_in_this_process() {}

#[test]
fn d_exits_as_if_all_were_well() {
    std::process::exit(0);
}

#[test]
fn e_hangs() {
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

#[test]
fn f_fails_before_a_crash() {
    panic!("f");
}
