//! Pure text in, text out: what frameworks print, what reporters want, what users write.

pub mod area;
pub mod compare;
pub mod export;
pub mod megatest;
pub mod report;
pub mod skeleton;
pub mod status_file;
pub mod status_log;
pub mod suite;
pub mod tap_read;
