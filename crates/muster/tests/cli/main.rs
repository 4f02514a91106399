//! The program as people call it, in an environment of its own: an empty home, a cleared environment, an
//! area in a temporary directory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod archive;
mod areas;
mod artifacts;
mod autoserv;
mod autotest;
mod buildbot;
mod demo;
mod device;
mod device_packages;
mod driver;
mod env;
mod exports;
mod faults;
mod gang;
mod gates;
mod general;
mod given;
mod health;
mod keep;
mod lab;
mod lab_again;
mod lab_events;
mod lab_packages;
mod lab_scale;
mod launchers;
mod live;
mod logpro;
mod megatest;
mod megatest_again;
mod megatest_field;
mod megatest_reports;
mod megatest_runs;
mod new;
mod on_device;
mod package;
mod profile;
mod reference;
mod reserve;
mod runs;
mod seeded;
mod service;
mod steps_again;
mod suite_on_device;
mod tiers;
