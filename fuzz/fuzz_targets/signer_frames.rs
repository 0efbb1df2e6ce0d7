#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatewire::fuzzing::signer_frames(input));
