//! Figures for `docs/performance.md`: what it costs to look at a grant, and to find out whose a token is, seen for the first
//! time and again. `cargo bench --bench grants`.

use std::{
    hint::black_box,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use continuum::{
    auth::{
        Authority,
        mint::{Wanted, mint},
    },
    config::{Config, Sources},
    model::{
        EntityKey, Timestamp,
        glob::has_one_star,
        rights::{Entities, EntityRule, LONGEST, MOST, Patterns},
    },
};
use serde_json::{Map, json};
use tempfile::TempDir;

/// Looks at one grant.
const LOOKS: u32 = 200_000;
/// Tokens of one algorithm.
const TOKENS: usize = 300;

fn main() {
    grants();
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(tokens());
}

fn row(what: &str, each: Duration) {
    println!("{what:<72} {:>10.3} µs", each.as_secs_f64() * 1e6);
}

/// The average of many.
fn time(looks: u32, mut look: impl FnMut() -> bool) -> Duration {
    let from = Instant::now();
    for _ in 0..looks {
        black_box(look());
    }
    from.elapsed() / looks
}

fn grants() {
    println!("--- one look at a grant, nothing in it fits but the last ---");
    let others = |count: usize| (1..count).map(|n| format!("other-{n}.*"));
    let usual = |count: usize| Patterns::of(others(count).chain(["memory.*".to_owned()]));
    for (what, patterns) in [
        ("*", Patterns::all()),
        ("1 pattern", usual(1)),
        ("8 patterns", usual(8)),
        ("as many patterns as may be", usual(MOST)),
    ] {
        row(&format!("publish, {what}"), time(LOOKS, || patterns.admits(black_box("memory.created"))));
    }
    let entities = |count: usize| {
        let all = others(count).chain(["node".to_owned()]);
        Entities::of(all.map(|kind| EntityRule { kind: kind.into(), id: "mine-*".into() }))
    };
    let key = EntityKey::new("node", "mine-0123456789").expect("a key");
    for count in [1, 8, MOST] {
        let rules = entities(count);
        row(&format!("change, {count} rules"), time(LOOKS, || rules.admits(black_box(&key), || None)));
    }
    println!(
        "--- the worst that may be granted: {MOST} patterns of {LONGEST} bytes, and a name that almost fits all of them ---"
    );
    let run = |most: usize| "a".repeat(most);
    for (what, name, pattern) in [
        ("a run before a star", run(128), format!("{}b*", run(127))),
        ("a run behind a star", run(128), format!("*b{}", run(127))),
        ("runs on both sides", run(128), format!("{}*b{}", run(64), run(63))),
    ] {
        assert!(pattern.len() <= LONGEST && has_one_star(&pattern), "{what}");
        let worst = Patterns::of(vec![pattern.clone(); MOST]);
        assert!(!worst.admits(&name));
        row(&format!("publish, {what}"), time(LOOKS, || worst.admits(black_box(&name))));
        let kind = run(64);
        let rules = (0..MOST).map(|_| EntityRule { kind: format!("{}*", run(63)).into(), id: pattern.clone().into() });
        let (worst, key) = (Entities::of(rules), EntityKey::new(&kind, &name).expect("a key"));
        assert!(!worst.admits(&key, || None));
        row(&format!("change, {what}"), time(LOOKS, || worst.admits(black_box(&key), || None)));
    }
}

fn openssl(arguments: &[&str]) {
    let done = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn key_pair(folder: &Path, algorithm: &str) {
    let path = |end: &str| folder.join(format!("{algorithm}.{end}")).to_str().expect("a path in UTF-8").to_owned();
    let kind = match algorithm {
        "RS256" => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..],
        "ES256" => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "EdDSA" => &["-algorithm", "ED25519"],
        _ => {
            for end in ["private", "public"] {
                std::fs::write(path(end), "a secret that is long enough to be one").expect("a file");
            }
            return;
        }
    };
    openssl(&[&["genpkey"], kind, &["-out", &path("private")]].concat());
    openssl(&["pkey", "-in", &path("private"), "-pubout", "-out", &path("public")]);
}

async fn tokens() {
    println!("--- whose a token is, {TOKENS} tokens of each algorithm ---");
    let folder = TempDir::new().expect("a temporary directory can be made");
    let algorithms = ["HS256", "EdDSA", "ES256", "RS256"];
    let mut issuers = String::from("[[issuer]]\nissuer = \"bench\"\naudience = \"continuum\"\ntenants = [\"*\"]\n");
    for algorithm in algorithms {
        key_pair(folder.path(), algorithm);
        issuers += &format!(
            "[[issuer.key]]\nid = \"{algorithm}\"\nalgorithm = \"{algorithm}\"\nfile = \"{algorithm}.public\"\n"
        );
    }
    let file = folder.path().join("issuers.toml");
    std::fs::write(&file, issuers).expect("a file");
    let overrides = [("auth.mode", "token"), ("auth.issuers", file.to_str().expect("a path in UTF-8"))];
    let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let config = Config::load(&Sources { overrides, ..Sources::default() }).expect("the settings are good").config;
    let authority = Authority::open(&config.auth).expect("the keys are good");
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let now = Timestamp(since.as_millis() as i64);
    for algorithm in algorithms {
        let grant = json!({"publish": ["memory.*"], "subscribe": ["*"], "read": ["*"], "change": ["memory"]});
        let one = |number: usize| {
            let claims =
                [("tenant", json!("acme")), ("sub", json!(format!("user-{number}"))), ("grant", grant.clone())];
            let wanted = Wanted {
                issuer: "bench",
                audience: "continuum",
                key_id: Some(algorithm),
                algorithm,
                key: &folder.path().join(format!("{algorithm}.private")),
                lasts: Duration::from_secs(3600),
                claims: Map::from_iter(claims.map(|(name, value)| (name.to_owned(), value))),
            };
            mint(wanted, now).expect("a token")
        };
        let tokens: Vec<_> = (0..TOKENS).map(one).collect();
        for (what, rounds) in [("for the first time", 1), ("again", 100)] {
            let from = Instant::now();
            for token in (0..rounds).flat_map(|_| &tokens) {
                black_box(authority.verify(token, now).await.expect("it is good"));
            }
            row(&format!("{algorithm}, {what}"), from.elapsed() / (rounds * TOKENS as u32));
        }
    }
}
