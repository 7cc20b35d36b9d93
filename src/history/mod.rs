//! Client-side histories, and whether they are linearizable.
