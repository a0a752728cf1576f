//! The configuration, through the library and through the real binary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use continuum::config::{BackboneKind, Config, ConfigError, Loaded, LogFormat, Origin, Sources};
use tempfile::TempDir;

const ENVIRONMENTS: [&str; 4] = ["development", "staging", "production", "bench"];

fn load(sources: &Sources) -> Loaded {
    Config::load(sources).unwrap_or_else(|error| panic!("{error}"))
}

/// The error's text, which must be one line.
fn refusal(sources: &Sources) -> String {
    let error = Config::load(sources).expect_err("this configuration is bad").to_string();
    assert_eq!(error.lines().count(), 1, "{error:?}");
    assert!(error.starts_with("config: "), "{error}");
    error
}

fn variables(pairs: &[(&str, &str)]) -> Sources {
    Sources { variables: owned(pairs), ..Sources::default() }
}

fn flags(pairs: &[(&str, &str)]) -> Sources {
    Sources { overrides: owned(pairs), ..Sources::default() }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A file that lives as long as the directory.
fn file(text: &str) -> (TempDir, Sources, PathBuf) {
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("c.toml");
    fs::write(&path, text).expect("the file is writable");
    (dir, Sources { file: Some(path.clone()), ..Sources::default() }, path)
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    fs::read_to_string(path).expect("the file is in the repository")
}

/// `section.key` with its line's number, for each key of a shipped file.
fn keys_of(text: &str) -> Vec<(usize, String)> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            keys.push((number, format!("{section}{key}")));
        }
    }
    keys
}

// --- The shipped files ---

#[test]
fn every_key_of_default_toml_has_a_comment_above_it() {
    let text = shipped("default.toml");
    let lines: Vec<_> = text.lines().collect();
    for (number, key) in keys_of(&text) {
        assert!(number > 0 && lines[number - 1].starts_with("# "), "{key} has no comment");
    }
}

#[test]
fn default_toml_and_config_have_the_same_keys() {
    let text = shipped("default.toml");
    let parse = |text: &str| {
        let file = config::File::from_str(text, config::FileFormat::Toml);
        config::Config::builder().add_source(file).build().expect("it is TOML").try_deserialize::<Config>()
    };
    // Unknown fields are denied, so whole means: no key too many. Each one's absence shows that it is a field.
    parse(&text).expect("default.toml alone is a whole configuration");
    let keys = keys_of(&text);
    assert!(keys.len() > 40, "{}", keys.len());
    for (number, key) in keys {
        let without: Vec<_> = text.lines().enumerate().filter(|(at, _)| *at != number).map(|(_, line)| line).collect();
        parse(&without.join("\n")).expect_err(&format!("{key} is not needed"));
    }
}

#[test]
fn every_built_in_environment_loads() {
    for name in ENVIRONMENTS {
        let loaded = load(&Sources { environment: Some(name.into()), ..Sources::default() });
        assert_eq!(loaded.sources()[1].to_string(), format!("{name}.toml (built in)"));
    }
}

#[test]
fn the_shipped_bench_profile_raises_limits_and_leaves_them_on() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/bench.toml");
    let by_file = load(&Sources { file: Some(shipped), ..Sources::default() }).config.limits;
    let by_name = load(&Sources { environment: Some("bench".into()), ..Sources::default() }).config.limits;
    let usual = load(&Sources::default()).config.limits;
    assert_eq!(by_file, by_name);
    assert!(by_name.messages_per_minute > usual.messages_per_minute);
    assert!(by_name.connections_per_tenant > usual.connections_per_tenant);
}

#[test]
fn the_defaults_are_those_of_the_protocol() {
    let config = load(&Sources::default()).config;
    assert_eq!((config.server.host.as_str(), config.server.port), ("127.0.0.1", 8420));
    assert_eq!(config.backbone.kind, BackboneKind::Embedded);
    assert_eq!(config.heartbeat.interval, Duration::from_secs(30));
    assert_eq!(config.heartbeat.timeout, Duration::from_secs(90));
    assert_eq!(config.log.retention_age, Duration::from_secs(30 * 24 * 3600));
    assert_eq!(config.limits.messages_per_minute, 100);
    assert_eq!(config.limits.connections_per_tenant, 100);
    assert_eq!(config.limits.max_message_bytes, 1024 * 1024);
}

// --- Order ---

#[test]
fn a_later_source_wins_and_is_remembered() {
    let (_dir, mut sources, path) = file("[server]\nport = 1\nbacklog = 11\nworkers = 21\n[logging]\nlevel = \"warn\"");
    sources.environment = Some("production".into());
    sources.variables = owned(&[("CONTINUUM__SERVER__PORT", "2"), ("CONTINUUM__SERVER__BACKLOG", "12"), ("PATH", "/")]);
    sources.overrides = owned(&[("server.port", "3")]);
    let loaded = load(&sources);
    let Config { server, logging, .. } = &loaded.config;
    assert_eq!((server.port, server.backlog, server.workers), (3, 12, 21));
    assert_eq!((logging.level.as_str(), logging.format), ("warn", LogFormat::Json));
    for (key, origin) in [
        ("server.port", Origin::Flag("--port".into())),
        ("server.backlog", Origin::Variable("CONTINUUM__SERVER__BACKLOG".into())),
        ("server.workers", Origin::File(path)),
        ("logging.format", Origin::BuiltIn("production.toml")),
        ("server.host", Origin::BuiltIn("default.toml")),
    ] {
        assert_eq!(loaded.origin(key), Some(&origin), "{key}");
    }
    assert_eq!(loaded.origin("server.prot"), None);
}

#[test]
fn of_two_flags_for_one_key_the_last_one_wins() {
    assert_eq!(load(&flags(&[("server.port", "1"), ("server.port", "2")])).config.server.port, 2);
}

#[test]
fn a_variable_holds_each_kind_of_value() {
    let config = load(&variables(&[
        ("CONTINUUM__DATA_DIR", "/srv/log"),
        ("CONTINUUM__NATS__URLS", "nats://a:4222, nats://b:4222"),
        ("CONTINUUM__SERVER__ALLOWED_ORIGINS", ""),
        ("CONTINUUM__AUTH__ALLOW_REMOTE_NONE", "true"),
        ("CONTINUUM__HEARTBEAT__INTERVAL", "250ms"),
    ]))
    .config;
    assert_eq!(config.data_dir, Path::new("/srv/log"));
    assert_eq!(config.nats.urls, ["nats://a:4222", "nats://b:4222"]);
    assert!(config.server.allowed_origins.is_empty() && config.auth.allow_remote_none);
    assert_eq!(config.heartbeat.interval, Duration::from_millis(250));
}

// --- Refusals ---

#[test]
fn an_unknown_key_is_named_with_its_source_and_the_nearest_key() {
    let (_dir, sources, path) = file("[server]\nprot = 1");
    let expected = format!("config: unknown key \"server.prot\" in {}: did you mean \"server.port\"?", path.display());
    assert_eq!(refusal(&sources), expected);
    assert_eq!(
        refusal(&variables(&[("CONTINUUM__SERVER__PROT", "1")])),
        "config: unknown key \"server.prot\" in CONTINUUM__SERVER__PROT: did you mean CONTINUUM__SERVER__PORT (\"server.port\")?"
    );
    assert_eq!(
        refusal(&flags(&[("server.prot", "1")])),
        "config: unknown key \"server.prot\" in --set server.prot: did you mean \"server.port\"?"
    );
}

#[test]
fn an_unknown_section_an_empty_one_and_a_key_in_the_wrong_section_are_unknown_keys() {
    for (text, key, mend) in [
        ("[sever]\nport = 1", "sever.port", "server.port"),
        ("port = 1", "port", "server.port"),
        ("[limits]\nport = 1", "limits.port", "server.port"),
        ("[heartbeat.interva]", "heartbeat.interva", "heartbeat.interval"),
    ] {
        let (_dir, sources, _) = file(text);
        let refusal = refusal(&sources);
        assert!(refusal.contains(&format!("unknown key \"{key}\"")) && refusal.contains(mend), "{refusal}");
    }
    assert!(refusal(&flags(&[("zzz", "1")])).ends_with("`continuum config show` lists every key"));
}

#[test]
fn a_variable_in_small_letters_is_unknown() {
    let refusal = refusal(&variables(&[("CONTINUUM__server__port", "1")]));
    assert!(refusal.contains("CONTINUUM__SERVER__PORT"), "{refusal}");
}

#[test]
fn a_wrong_type_is_named_with_its_source_and_what_is_expected() {
    assert_eq!(
        refusal(&variables(&[("CONTINUUM__SERVER__PORT", "abc")])),
        "config: \"server.port\" in CONTINUUM__SERVER__PORT is \"abc\", expected a whole number from 0 to 65535"
    );
    for (text, parts) in [
        ("[server]\nport = \"8420\"", ["\"server.port\"", "is \"8420\"", "a whole number"]),
        ("server = 3", ["\"server\"", "is 3", "a section: [server]"]),
        ("[server.port]\na = 1", ["\"server.port\"", "is a section", "a whole number"]),
        ("[server]\nport = {}", ["\"server.port\"", "is a section", "a whole number"]),
        ("[server]\nallowed_origins = [1]", ["\"server.allowed_origins\"", "is [1]", "a list of origins"]),
        ("[auth]\nallow_remote_none = \"yes\"", ["\"auth.allow_remote_none\"", "\"yes\"", "true or false"]),
        ("[heartbeat]\ninterval = 30", ["\"heartbeat.interval\"", "is 30", "a duration above zero"]),
        ("[logging]\nformat = \"a\\nb\"", ["\"logging.format\"", r#""a\nb""#, "\"text\" or \"json\""]),
    ] {
        let (_dir, sources, path) = file(text);
        let refusal = refusal(&sources);
        assert!(parts.iter().all(|part| refusal.contains(part)), "{refusal}");
        assert!(refusal.contains(&path.display().to_string()), "{refusal}");
    }
}

#[test]
fn a_value_out_of_range_and_a_zero_without_meaning_are_refused() {
    for (key, value) in [
        ("server.port", "65536"),
        ("server.port", "-1"),
        ("journal.max_bytes", "1000"),
        ("rooms.threads", "0"),
        ("limits.json_depth", "121"),
        ("limits.max_message_bytes", "0"),
        ("heartbeat.interval", "0s"),
        ("heartbeat.interval", "1ns"),
        ("log.retention_age", "1000years"),
        ("rooms.cursor_flush", "0s"),
        ("limits.stall_timeout", "0s"),
        ("logging.level", "inof"),
        ("server.host", ""),
        ("nats.urls", ""),
        ("server.allowed_origins", "example.org"),
    ] {
        let refusal = refusal(&flags(&[(key, value)]));
        assert!(refusal.starts_with(&format!("config: \"{key}\" in --")) && refusal.contains("expected"), "{refusal}");
    }
}

#[test]
fn a_zero_with_a_meaning_is_taken() {
    let zeros =
        ["server.port", "server.workers", "server.send_buffer", "log.retention_bytes", "limits.messages_per_minute"];
    let spans = ["log.retention_age", "rooms.idle_timeout", "drain.spread"];
    let zeros = zeros.into_iter().map(|key| (key, "0")).chain(spans.into_iter().map(|key| (key, "0s")));
    load(&flags(&zeros.collect::<Vec<_>>()));
}

#[test]
fn values_that_cannot_hold_together_are_refused_with_every_source() {
    let refusal_1 = refusal(&flags(&[("heartbeat.interval", "90s")]));
    for part in ["heartbeat.timeout = \"1m 30s\" must be longer", "--set heartbeat.interval", "default.toml (built in)"]
    {
        assert!(refusal_1.contains(part), "{refusal_1}");
    }
    let refusal_2 = refusal(&flags(&[("drain.timeout", "5s")]));
    assert!(refusal_2.contains("drain.spread") && refusal_2.contains("--set drain.timeout"), "{refusal_2}");
}

#[test]
fn trusting_everybody_beyond_loopback_must_be_asked_for() {
    let refusal = refusal(&flags(&[("server.host", "0.0.0.0")]));
    assert!(refusal.contains("auth.allow_remote_none = true") && refusal.contains("--host"), "{refusal}");
    load(&flags(&[("server.host", "0.0.0.0"), ("auth.allow_remote_none", "true")]));
    load(&flags(&[("server.host", "::1")]));
}

#[test]
fn what_nats_needs_is_checked() {
    let nats = |key: &'static str, value: &'static str| flags(&[("backbone.kind", "nats"), (key, value)]);
    assert!(refusal(&nats("nats.replicas", "2")).contains("1, 3 or 5"));
    for bad in ["Sync", "a.b", "", "a b", ">"] {
        assert!(refusal(&nats("nats.prefix", bad)).contains("1 to 32 of a-z 0-9 _ -"), "{bad:?}");
    }
    assert!(refusal(&nats("nats.tls_key", "k.pem")).contains("go together"));
    let config = load(&nats("nats.replicas", "3")).config;
    assert_eq!((config.backbone.kind, config.nats.replicas, config.nats.shards), (BackboneKind::Nats, 3, 1));
    assert_eq!((config.nats.prefix.as_str(), config.nats.credentials.as_os_str().len()), ("sync", 0));
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_is_named() {
    let missing = Sources { file: Some("/nowhere/c.toml".into()), ..Sources::default() };
    assert!(matches!(Config::load(&missing), Err(ConfigError::Unreadable { .. })));
    assert!(refusal(&missing).starts_with("config: cannot read /nowhere/c.toml: "));
    let (_dir, sources, path) = file("[server]\nport = = 1");
    let refusal = refusal(&sources);
    assert!(refusal.starts_with(&format!("config: cannot parse {}: ", path.display())), "{refusal}");
    assert!(refusal.contains("line 2"), "{refusal}");
}

#[test]
fn names_with_line_breaks_do_not_break_the_one_line() {
    // `refusal` counts the lines.
    let (dir, mut sources, path) = file("\"a\\nb\" = 1");
    let broken = dir.path().join("c\nd.toml");
    fs::rename(path, &broken).expect("the file can be renamed");
    sources.file = Some(broken);
    assert!(refusal(&sources).contains(r#"unknown key "a\nb" in"#));
    refusal(&Sources { file: Some("/nowhere/c\nd.toml".into()), ..Sources::default() });
    refusal(&variables(&[("CONTINUUM__A\nB", "1")]));
    refusal(&flags(&[("a\nb", "1")]));
}

#[test]
fn an_unknown_environment_is_refused_and_an_empty_one_is_the_default() {
    let named = |name: &str| Sources { environment: Some(name.into()), ..Sources::default() };
    let refusal = refusal(&named("prod"));
    assert!(
        refusal.contains("CONTINUUM_ENV is \"prod\"") && refusal.contains("did you mean \"production\"?"),
        "{refusal}"
    );
    assert_eq!(load(&named("")).config, load(&Sources::default()).config);
}

// --- Show ---

#[test]
fn show_has_every_key_with_its_source_and_loads_again() {
    let loaded = load(&flags(&[("data_dir", "a \"b\""), ("server.allowed_origins", "https://a.org,https://b.org")]));
    let shown = loaded.to_toml();
    assert!(shown.contains("port = 8420 # default.toml (built in)\n"), "{shown}");
    assert!(shown.contains(r#"data_dir = "a \"b\"" # --data-dir"#), "{shown}");
    let names = |text: &str| keys_of(text).into_iter().map(|(_, key)| key).collect::<Vec<_>>();
    assert_eq!(names(&shown), names(&shipped("default.toml")));
    let (_dir, again, _) = file(&shown);
    assert_eq!(load(&again).config, loaded.config);
}

#[test]
fn secrets_are_hidden_in_show_in_errors_and_in_debug() {
    let loaded = load(&variables(&[("CONTINUUM__NATS__URLS", "nats://joe:hunter2@a:4222,nats://b:4222")]));
    assert!(loaded.to_toml().contains(r#"urls = ["nats://***@a:4222", "nats://b:4222"]"#), "{}", loaded.to_toml());
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert_eq!(loaded.config.nats.urls[0], "nats://joe:hunter2@a:4222");
    let refusal = refusal(&variables(&[("CONTINUUM__NATS__URLS", "joe:hunter2@a:4222")]));
    assert!(!refusal.contains("hunter2"), "{refusal}");
}

// --- The binary ---

/// Runs the binary with these variables and nothing of this process's own.
fn continuum(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_continuum"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CONTINUUM")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

#[test]
fn the_binary_says_that_a_good_configuration_is_good_and_from_where() {
    let output = continuum(&["config", "check", "--set", "rooms.threads=2"], &[("CONTINUUM_ENV", "production")]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        "config is good (sources: default.toml (built in), production.toml (built in), --set rooms.threads)\n"
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn every_command_exits_with_78_and_one_line_when_the_configuration_is_bad() {
    let (_dir, _, path) = file("[server]\nprot = 1");
    let path = path.to_str().expect("a UTF-8 path");
    let bad_port = [("CONTINUUM__SERVER__PORT", "abc")];
    for (arguments, variables) in [
        (vec!["config", "check", "--config", path], &[][..]),
        (vec!["config", "show", "--config", path], &[]),
        (vec!["serve", "--config", path], &[]),
        (vec!["serve"], &bad_port),
        (vec!["serve", "--port", "abc"], &[]),
        (vec!["serve", "--host", "0.0.0.0"], &[]),
        (vec!["serve", "--set", "server.prot=1"], &[]),
        (vec!["config", "check"], &[("CONTINUUM_ENV", "prod")]),
    ] {
        let output = continuum(&arguments, variables);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let complaint = text(&output.stderr);
        assert!(complaint.starts_with("config: ") && complaint.ends_with('\n'), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
}

#[test]
fn the_binary_shows_the_merged_settings_without_secrets() {
    let variables = [("CONTINUUM__NATS__URLS", "nats://joe:hunter2@a:4222")];
    let output = continuum(&["config", "show"], &variables);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(shown.contains(r#"urls = ["nats://***@a:4222"] # CONTINUUM__NATS__URLS"#), "{shown}");
}

#[test]
fn wrong_usage_exits_with_2_and_help_lists_variables_and_exit_codes() {
    assert_eq!(continuum(&["sreve"], &[]).status.code(), Some(2));
    assert_eq!(continuum(&["serve", "--set", "novalue"], &[]).status.code(), Some(2));
    for arguments in [&["--help"][..], &["serve", "--help"], &["config", "check", "--help"]] {
        let output = continuum(arguments, &[]);
        let help = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0));
        for part in ["CONTINUUM_ENV", "CONTINUUM__SECTION__KEY", "Exit codes", "78"] {
            assert!(help.contains(part), "{arguments:?} lacks {part}");
        }
    }
}
