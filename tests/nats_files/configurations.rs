//! The configurations are good, do what their comments say, and the secrets for them are what they should be.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use async_nats::ConnectOptions;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    nats_support::{
        Admin, NatsConfig, NatsServer, SecuredCluster, program,
        secured::{exchange, file, folder, make_secrets},
    },
    streams,
};

/// `nats-server -t`.
fn check(configuration: &Path, directory: &Path) {
    let checked = Command::new(program()).arg("-t").arg("-c").arg(configuration).current_dir(directory).output();
    let checked = checked.expect("the server's program runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

fn openssl(arguments: &[&str], directory: &Path) -> String {
    let done = Command::new("openssl").args(arguments).current_dir(directory).output().expect("openssl is there");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("openssl writes text")
}

#[tokio::test]
async fn the_server_for_a_laptop_starts_and_flushes_always() {
    check(&folder().join("nats-server.conf"), &folder());
    let text = exchange(&file("nats-server.conf"), "listen: \"127.0.0.1:4222\"", "listen: \"@clients@\"");
    let text = exchange(&text, "http: \"127.0.0.1:8222\"", "http: \"@monitoring@\"");
    let text = exchange(&text, "\"./data/nats\"", "\"@store@\"");
    let server = NatsServer::start_with(NatsConfig::whole(&text)).await;
    let admin = Admin::connect(&server.url()).await;
    assert_eq!(admin.client().max_payload(), 2 << 20);
    streams::make(&admin, 1).await;
    let (_, page) = server.monitor("/jsz?config=true").await.expect("it runs");
    assert_eq!(page["config"]["sync_always"], true, "{page}");
    assert_eq!(page["config"]["max_storage"], 20_u64 << 30, "{page}");
    let mut long = streams::settings(1, 1)[0].clone();
    long["duplicate_window"] = json!(600_000_000_000_u64);
    let refused = admin.api("STREAM.CREATE.SYNC_LOG_1", long).await.expect_err("more than the limit");
    assert!(format!("{refused:?}").contains("server limit of 5m0s"), "{refused:?}");
}

#[tokio::test]
async fn the_cluster_starts_with_the_secrets_that_the_script_makes() {
    let secured = SecuredCluster::start().await;
    let operator = secured.connect("operator").await;
    streams::make(&operator, 3).await;
    assert_eq!(operator.client().max_payload(), 2 << 20);
    assert!(operator.client().server_info().connect_urls.is_empty(), "nothing is advertised");
    for index in 0..3 {
        let server = secured.cluster().server(index);
        check(&server.home().join("server.conf"), server.home());
        let (_, page) = server.monitor("/jsz?config=true").await.expect("it runs");
        assert_eq!(page["config"]["sync_always"], true, "{page}");
        let (_, page) = server.monitor("/routez").await.expect("it runs");
        let routes = page["routes"].as_array().expect("a list");
        assert!(!routes.is_empty() && routes.iter().all(|route| !route["remote_id"].is_null()), "{page}");
        let (_, page) = server.monitor("/varz").await.expect("it runs");
        assert_eq!(page["cluster"]["tls_required"], true, "{page}");
        assert_eq!(page["tls_required"], true, "{page}");
    }
    let system = secured.connect("system").await;
    assert_eq!(system.request("$SYS.REQ.ACCOUNT.SYNC.INFO", <_>::default(), <_>::default()).await.map(|_| ()), Ok(()));
}

#[tokio::test]
async fn the_cluster_refuses_who_has_no_key_of_it() {
    let secured = SecuredCluster::start().await;
    let urls: Vec<_> = secured.urls().split(',').map(str::to_owned).collect();
    let trusting = || ConnectOptions::new().add_root_certificates(secured.secret("ca.pem"));
    let elsewhere = TempDir::new().expect("a temporary directory can be made");
    make_secrets(&elsewhere.path().join("secrets"), &["x1"]);
    let read = |name: &str| fs::read_to_string(elsewhere.path().join("secrets").join(name)).expect("it was made");
    let refused = [
        ("no nkey", trusting()),
        ("a password", trusting().user_and_password("node".into(), "secret".into())),
        ("somebody else's nkey", trusting().nkey(read("node.nk").trim().to_owned())),
        ("a server with a certificate of nobody's", ConnectOptions::with_nkey(secured.seed("node"))),
        (
            "a server with a certificate of somebody else's",
            ConnectOptions::with_nkey(secured.seed("node"))
                .add_root_certificates(elsewhere.path().join("secrets/ca.pem")),
        ),
    ];
    for (what, options) in refused {
        assert!(options.connect(&urls).await.is_err(), "{what}");
    }
    assert!(secured.options("node").connect(&urls).await.is_ok());
}

#[test]
fn the_three_servers_differ_in_names_ports_and_paths_only() {
    let first = file("cluster/n1.conf");
    for (name, ordinal, offset) in [("n2", "second", 1), ("n3", "third", 2)] {
        let mut expected = first.replace("n1", name).replace("first", ordinal);
        for port in [4222, 8222, 6222] {
            expected = expected.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", port + offset));
        }
        assert_eq!(file(&format!("cluster/{name}.conf")), expected);
    }
}

#[test]
fn secrets_are_for_their_owner_only_and_never_overwritten() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let secrets = directory.path().join("secrets");
    make_secrets(&secrets, &["n1=nats-1.example.org,10.0.0.1", "n2"]);
    let mode = |path: &Path| fs::metadata(path).expect("it was made").permissions().mode() & 0o777;
    assert_eq!(mode(&secrets), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&secrets).expect("it was made") {
        let path = entry.expect("it was made").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().expect("files have names").to_string_lossy().into_owned());
    }
    names.sort();
    let expected = "ca-key.pem ca.pem n1-key.pem n1.pem n2-key.pem n2.pem nkeys.conf node.nk operator.nk system.nk";
    assert_eq!(names.join(" "), expected);
    openssl(&["verify", "-x509_strict", "-CAfile", "ca.pem", "n1.pem", "n2.pem"], &secrets);
    let text = openssl(&["x509", "-in", "n1.pem", "-noout", "-ext", "subjectAltName,extendedKeyUsage"], &secrets);
    let hosts = "DNS:n1, DNS:localhost, IP Address:127.0.0.1, DNS:nats-1.example.org, IP Address:10.0.0.1";
    for part in [hosts, "TLS Web Server Authentication, TLS Web Client Authentication"] {
        assert!(text.contains(part), "{text}");
    }
    let before = fs::read(secrets.join("node.nk")).expect("it was made");
    let again = Command::new(folder().join("cluster/make-secrets.sh")).arg(&secrets).output().expect("bash is there");
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"), "{again:?}");
    assert_eq!(fs::read(secrets.join("node.nk")).expect("it is still there"), before);
}

#[test]
fn git_does_not_take_secrets() {
    let ignored = file("cluster/.gitignore");
    assert!(ignored.lines().any(|line| line == "/secrets") && ignored.lines().any(|line| line == "/data"), "{ignored}");
}
