//! Whole clusters on virtual time, from a seed.
