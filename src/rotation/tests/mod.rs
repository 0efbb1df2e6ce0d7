//! Rotations on a machine that may be killed at any moment, with a network, a disk and a backend as bad as they can be.

mod ends;
mod properties;
mod scenes;
mod world;
