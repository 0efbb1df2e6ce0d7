//! When a scheduled publication is due. Pure: time comes from the caller.
