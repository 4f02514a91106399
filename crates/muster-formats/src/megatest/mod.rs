//! What Megatest's areas are made of, read without Megatest: configuration, log rules, test data, states.

pub mod ezsteps;
pub mod logpro;
pub mod refdb;
pub mod rollup;
pub mod sexpr;
pub mod status;
pub mod test_data;
pub mod waivers;
