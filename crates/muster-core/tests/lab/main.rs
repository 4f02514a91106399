//! The lab as a value, scenario by scenario. One file per behaviour; the lab is touched in `kit` alone.

#[expect(unreachable_pub, reason = "it is the simulator's, and public there")]
#[path = "../../../muster-sim/src/build.rs"]
mod build;
mod kit;
#[expect(unreachable_pub, reason = "it is the simulator's, and public there")]
#[path = "../../../muster-sim/src/scenario.rs"]
mod scenario;

mod agents;
mod discovery;
mod elsewhere;
mod eta;
mod exchange;
mod expectations;
mod gang;
mod gates;
mod health;
mod hold;
mod hostile;
mod kill;
mod order;
mod prerequisites;
mod queue;
mod reach;
mod register;
mod rerun;
mod retries;
mod shares;
mod stop;
mod table;
mod why;
