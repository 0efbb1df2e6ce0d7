//! What the fuzzers of `fuzz/` call: whatever bytes come from IoT Core, from local programs or from a file, nothing panics and
//! what is promised of the answer holds. Only there for them and for the tests, which feed the same functions with the corpus.

pub use crate::config::fuzzing::configuration;
pub use crate::forward::fuzzing::forward_lines;
pub use crate::ingest::fuzzing::{ingest_client, ingest_lines};
pub use crate::link::fuzzing::{session_3_1_1, session_5};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Feeds each file of a corpus.
    fn feed(target: &str, entry: fn(&[u8])) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut fed = 0;
        for file in fs::read_dir(&directory).unwrap() {
            let path = file.unwrap().path();
            // Shown if it panics.
            println!("{}", path.display());
            entry(&fs::read(path).unwrap());
            fed += 1;
        }
        assert!(fed > 0, "{} is empty", directory.display());
    }

    #[test]
    fn what_the_fuzzers_know_is_survived() {
        feed("session_3_1_1", super::session_3_1_1);
        feed("session_5", super::session_5);
        feed("ingest_lines", super::ingest_lines);
        feed("ingest_client", super::ingest_client);
        feed("forward_lines", super::forward_lines);
        feed("configuration", super::configuration);
    }
}
