use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;

use super::*;

fn file(path: &Path) -> SocketFile {
    SocketFile { path: path.to_owned(), mode: 0o660, group: None }
}

fn refused(path: &Path) -> SocketError {
    Listener::bind(&file(path)).unwrap_err()
}

#[tokio::test]
async fn a_socket_has_its_mode_and_goes_with_its_listener() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    for mode in [0o600, 0o660, 0o666] {
        let listener = Listener::bind(&SocketFile { mode, ..file(&path) }).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        let mut client = UnixStream::connect(&path).unwrap();
        drop(listener.accept().await.unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(listener);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_one_that_is_served_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    drop(UnixListener::bind(&path).unwrap());
    let _listener = Listener::bind(&file(&path)).unwrap();
    assert!(matches!(refused(&path), SocketError::Served { .. }));
    UnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn a_server_too_busy_to_accept_is_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    busy.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    busy.listen(0).unwrap();
    let _waits = UnixStream::connect(&path).unwrap();
    assert!(matches!(refused(&path), SocketError::Served { .. }));
}

#[tokio::test]
async fn what_is_in_the_way_and_no_stream_socket_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(refused(&path), SocketError::NotASocket { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    let _datagram = UnixDatagram::bind(&path).unwrap();
    assert!(matches!(refused(&path), SocketError::Served { .. }));
}

#[tokio::test]
async fn faults_are_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/a.sock");
    let message = refused(&path).to_string();
    assert!(message.contains("doesn't exist") && message.contains("RuntimeDirectory=gatewire"), "{message}");

    let path = directory.path().join("x".repeat(120));
    assert!(refused(&path).to_string().contains("107 bytes"));

    let path = directory.path().join("a.sock");
    let unknown = SocketFile { group: Some("no-such-group".into()), ..file(&path) };
    let message = Listener::bind(&unknown).unwrap_err().to_string();
    assert!(message.contains("groupadd --system no-such-group"), "{message}");
    assert!(!path.exists(), "nothing is left behind");
}

#[tokio::test]
async fn a_group_is_given() {
    // Root may give a socket to any group; others to one of their own.
    let gid = if nix::unistd::geteuid().is_root() { 1.into() } else { nix::unistd::getegid() };
    let Some(group) = Group::from_gid(gid).unwrap() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let _listener = Listener::bind(&SocketFile { group: Some(group.name), ..file(&path) }).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().gid(), gid.as_raw());
}

#[tokio::test]
async fn what_another_process_has_put_in_its_place_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let listener = Listener::bind(&file(&path)).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists());
}

#[tokio::test]
async fn what_somebody_puts_in_its_place_gets_neither_mode_nor_group() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let secret = directory.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let before = fs::metadata(&secret).unwrap();
    let listener = Listener::bind(&file(&path)).unwrap();
    let access = listener.access();
    for plant in [|from: &Path, to: &Path| symlink(from, to), |from: &Path, to: &Path| fs::hard_link(from, to)] {
        fs::remove_file(&path).unwrap();
        plant(&secret, &path).unwrap();
        listener.give_access(&SocketFile { mode: 0o666, ..file(&path) }).unwrap();
        listener.restore(access.as_ref());
        let after = fs::metadata(&secret).unwrap();
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
        assert!(!listener.is_in_place());
        assert!(matches!(OwnFile::of_new(&path), Err(error) if error.to_string().contains("something else")));
    }
    drop(listener);
    assert!(path.exists(), "it isn't ours to remove");
}
