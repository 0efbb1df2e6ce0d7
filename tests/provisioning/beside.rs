//! Beside a daemon, or another `gatewire provision`.

use super::*;

#[test]
fn beside_a_daemon_it_does_nothing() {
    let fleet = Fleet::start();
    fleet.cloud.treat(Kind::CreateCertificate, &[Mood::Dead; 100]);
    let setup = fleet.setup("9001", "");
    let gatewire = setup.start();
    let lock = setup.directory.path().join("state/identity.lock");
    eventually("the daemon holds the lock", || {
        let file = fs::File::open(&lock).ok()?;
        file.try_lock_shared().is_err().then_some(())
    });
    let (code, out, said) = provision(&setup);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(said.starts_with("a gatewire runs, and gets the identity by itself"), "{said}");
    gatewire.stop();
}

#[test]
fn beside_another_in_the_foreground_it_says_so() {
    let fleet = Fleet::start();
    let setup = fleet.setup("9001", "");
    let state = setup.directory.path().join("state");
    fs::create_dir_all(&state).unwrap();
    let held = fs::File::create(state.join("identity.lock")).unwrap();
    held.lock().unwrap();
    let (code, out, said) = provision(&setup);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(said.starts_with("another `gatewire provision` runs"), "{said}");
    held.unlock().unwrap();
    assert_eq!(provision(&setup).0, 0);
}
