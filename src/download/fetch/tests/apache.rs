//! A server of others: Apache, with what it does of itself.

use std::fs::File;
use std::net::TcpStream as Probe;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use super::*;

struct Apache {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Apache {
    /// With the certificate of `issued`.
    async fn start(authority: &Authority) -> Apache {
        let issued = authority.issue(&["localhost"], ALWAYS);
        for _ in 0..10 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path();
            // As root Apache serves as another user.
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(path.join("cert.pem"), &issued.certificate).unwrap();
            fs::write(path.join("key.pem"), &issued.key).unwrap();
            fs::write(path.join("conf"), configuration(path, port)).unwrap();
            let mut child = Command::new("apache2")
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .args(["-X", "-f"])
                .arg(path.join("conf"))
                .stderr(Stdio::null())
                .spawn()
                .expect("apache2 (`make test` installs it)");
            loop {
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                if Probe::connect(("127.0.0.1", port)).is_ok() {
                    return Apache { child, port, directory };
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        panic!("apache2 doesn't start");
    }

    /// As a file that has been there for a while: of one that has just changed Apache gives no strong ETag.
    fn serve(&self, name: &str, contents: &[u8], day: u64) {
        let file = self.directory.path().join(name);
        fs::write(&file, contents).unwrap();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400);
        File::options().write(true).open(&file).unwrap().set_modified(written).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}", self.port)
    }

    /// Waits for a request with such a status and range: it is logged after its answer, and one that was given up when that is noticed.
    async fn logs(&self, is_it: impl Fn(&str) -> bool) {
        let log = || fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default();
        let begun = Instant::now();
        while !log().lines().any(&is_it) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", log());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn configuration(path: &Path, port: u16) -> String {
    let path = path.display();
    let modules = ["mpm_event", "authz_core", "ssl", "alias", "filter", "deflate"];
    let modules = modules.map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    format!(
        "{}ServerRoot {path}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {path}/pid\nUser www-data\nGroup www-data\n\
         ErrorLog {path}/error.log\nLogFormat \"%>s %{{Range}}i %{{If-Range}}i\" short\nCustomLog {path}/access.log short\n\
         DocumentRoot {path}\n<Directory {path}>\nRequire all granted\nSetOutputFilter DEFLATE\n</Directory>\n\
         <Location /denied>\nRequire all denied\n</Location>\nRedirect /moved /model.bin\n\
         SSLEngine on\nSSLCertificateFile {path}/cert.pem\nSSLCertificateKeyFile {path}/key.pem\n",
        modules.concat()
    )
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn apache_serves_the_rest_and_what_is_new() {
    let (old, new) = (vec![b'o'; 4 << 20], content(4 << 20));
    let mut gateway = Gateway::new(&old);
    let apache = Apache::start(&gateway.authority).await;
    gateway.url = apache.url("moved");
    // The daemon ends in the middle; then the file is replaced, then the daemon ends again.
    for (contents, day, expected) in [(&old, 1, "206"), (&new, 2, "200")] {
        gateway.sha256 = sum(contents);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let mut progress = |news: Progress<'_>| {
            if let Progress::Received { bytes, .. } = news {
                tell.send(bytes).unwrap();
            }
        };
        apache.serve("model.bin", &old, 1);
        tokio::select! {
            biased;
            bytes = told.recv() => assert!(bytes.unwrap() < old.len() as u64),
            done = gateway.fetch_until(&mut progress) => panic!("{done:?}"),
        }
        apache.serve("model.bin", contents, day);
        let path = gateway.fetch().await.unwrap();
        assert!(fs::read(&path).unwrap() == **contents);
        apache.logs(|line| line.starts_with(expected) && line.contains("bytes=") && line.contains('"')).await;
        super::super::super::clean(path.parent().unwrap(), None).unwrap();
    }
    gateway.url = apache.url("denied");
    let said = gateway.failure().await;
    assert!(said.contains("the server answered 403. The pre-signed URL may have expired"), "{said}");
}
