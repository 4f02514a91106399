//! What Megatest's areas are made of, read without Megatest: configuration, log rules, test data, states.

pub mod logpro;
pub mod sexpr;
pub mod status;
