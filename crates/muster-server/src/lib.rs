//! The shell round the lab: drain inputs, commit once, act.
