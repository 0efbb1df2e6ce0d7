#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatewire::fuzzing::token_uri(input));
