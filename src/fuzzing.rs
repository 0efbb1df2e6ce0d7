//! What the fuzzers of `fuzz/` call: whatever bytes come from IoT Core, from local programs or from a file, nothing panics and
//! what is promised of the answer holds. Only there for them and for the tests, which feed the same functions with the corpus
//! and with what chance makes of it.

pub use crate::actions::fuzzing::job_document;
pub use crate::batch::fuzzing::batch;
pub use crate::bridge::mosquitto::fuzzing::mosquitto;
pub use crate::cli::fuzzing::{publish_answers, status_document, tail_stream};
pub use crate::config::fuzzing::configuration;
pub use crate::cron::fuzzing::cron;
pub use crate::download::fuzzing::download;
pub use crate::forward::fuzzing::forward_lines;
pub use crate::ingest::fuzzing::{ingest_client, ingest_lines};
pub use crate::jobs_socket::fuzzing::jobs_lines;
pub use crate::link::diagnosis::fuzzing::proxy_answer;
pub use crate::mqtt::fuzzing::{session_3_1_1, session_5, session_local};
pub use crate::net::fuzzing::{certificate, pem};
pub use crate::pkcs11::fuzzing::{signer_frames, token_uri};
pub use crate::policy::fuzzing::policy;
pub use crate::store::fuzzing::database;
pub use crate::template::fuzzing::template;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use fastrand::Rng;

    /// The inputs made of the corpus are always the same.
    const SEED: u64 = 1;

    /// Shown if its test panics.
    struct Input<'a>(&'a str, &'a [u8]);

    impl Drop for Input<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("{}: \"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }

    /// Feeds each file of a corpus, then so many inputs made of them.
    fn feed(target: &str, entry: fn(&[u8]), made: usize) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} is empty", directory.display());
        let corpus: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        for (path, input) in paths.iter().zip(&corpus) {
            let _shown = Input(&path.display().to_string(), input);
            entry(input);
        }
        let mut random = Rng::with_seed(SEED);
        for number in 0..made {
            let input = mutated(&corpus, &mut random);
            let _shown = Input(&format!("input {number} of seed {SEED}"), &input);
            entry(&input);
        }
    }

    /// An input of the corpus with some changes.
    fn mutated(corpus: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
        let mut input = corpus[random.usize(..corpus.len())].clone();
        for _ in 0..random.usize(1..4) {
            let (from, to) = (random.usize(..=input.len()), random.usize(..=input.len()));
            let (from, to) = (from.min(to), from.max(to));
            match random.u8(..6) {
                0 => input.truncate(from),
                1 => drop(input.drain(from..to.min(from + 8))),
                2 => input.extend_from_within(from..to),
                3 => {
                    let other = &corpus[random.usize(..corpus.len())];
                    input.splice(from..to, other[random.usize(..=other.len())..].iter().copied());
                }
                4 => input.insert(from, *random.choice(b"\0\n\r\"\\{}[]*?:,.-0 9\x1b\x7f\xc2\xff").unwrap()),
                _ => input[from..to].iter_mut().take(1).for_each(|byte| *byte ^= 1 << random.u8(..8)),
            }
        }
        input
    }

    macro_rules! fed {
        ($($target:ident: $made:expr,)*) => {
            $(
                #[test]
                fn $target() {
                    feed(stringify!($target), super::$target, $made);
                }
            )*

            #[test]
            fn each_fuzzer_is_fed_and_has_a_corpus() {
                let names = |directory: &str| -> Vec<String> {
                    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap();
                    let name = |path: std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
                    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap().path())).collect();
                    names.sort();
                    names
                };
                let mut fed = vec![$(stringify!($target)),*];
                fed.sort_unstable();
                assert_eq!(names("fuzz/fuzz_targets"), fed);
                assert_eq!(names("fuzz/corpus"), fed);
            }
        };
    }

    fed! {
        batch: 2000,
        certificate: 2000,
        configuration: 200,
        cron: 300,
        database: 100,
        download: 2000,
        forward_lines: 200,
        ingest_client: 200,
        ingest_lines: 1000,
        job_document: 2000,
        jobs_lines: 1000,
        mosquitto: 500,
        pem: 500,
        policy: 300,
        proxy_answer: 2000,
        publish_answers: 2000,
        session_3_1_1: 1000,
        session_5: 1000,
        session_local: 1000,
        signer_frames: 2000,
        status_document: 500,
        tail_stream: 1000,
        template: 2000,
        token_uri: 2000,
    }
}
