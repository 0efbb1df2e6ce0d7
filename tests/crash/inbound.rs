//! From IoT Core to local readers: what IoT Core has taken from a publisher reaches a reader, and in order.
