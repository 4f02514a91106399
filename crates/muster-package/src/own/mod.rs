//! Muster's own packages: a manifest of files, whose bytes are chunks named by their digest.
