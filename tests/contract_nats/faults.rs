//! What the log on NATS promises when servers, streams and lines fail.

use std::{collections::BTreeMap, time::Duration};

use continuum::{
    backbone::{
        Append, AppendError, Appended, Expect, FeedItem, Health, Outcome, ReadBudget, SharedBackbone, Stored,
        nats::{NatsConfig, NatsLog},
    },
    model::{Epoch, Position, TenantId},
};
use futures_util::StreamExt;
use serde_json::json;

use crate::{
    nats_support::{Admin, Line, NatsCluster, NatsConfig as ServerConfig, NatsServer, until},
    single::config,
    support::*,
};

async fn open(config: NatsConfig) -> (std::sync::Arc<NatsLog>, SharedBackbone) {
    let log = std::sync::Arc::new(NatsLog::open(config).await.expect("opens"));
    (log.clone(), log)
}

fn usual(server: &NatsServer) -> NatsConfig {
    config(&server.url(), 1 << 20)
}

/// Appends until the log takes it; an uncertain answer is repeated with the same id, as a client would.
async fn persist(log: &SharedBackbone, append: &Append) -> Position {
    loop {
        match continuum::backbone::append_one(log.as_ref(), append.clone()).await {
            Ok(Appended { position, .. }) => return position,
            Err(AppendError::Unknown(_) | AppendError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Every record that a feed brings, until one with this body came.
async fn drain_until(log: &SharedBackbone, of: &TenantId, last: &str) -> Vec<Stored> {
    let mut feed = log.follow(of).await.expect("followed");
    let read_after = async |at| {
        let page = until("the log can be read", async || log.read(of, at, ALL).await.ok()).await;
        assert!(!page.more);
        page.records
    };
    let mut seen = read_after(Position::START).await;
    seen.retain(|record| record.position <= feed.after);
    while seen.last().is_none_or(|record| record.body != last) {
        match feed.next().await {
            FeedItem::Records(records) => seen.extend(records),
            FeedItem::Lagged => {
                let at = seen.last().map_or(feed.after, |record| record.position);
                seen.extend(read_after(at).await);
            }
            FeedItem::Ended => panic!("the feed ended"),
        }
    }
    seen
}

#[tokio::test]
async fn a_killed_stream_leader_under_load_costs_no_record_and_doubles_none() {
    let cluster = NatsCluster::start().await;
    let settings = NatsConfig { replicas: 3, ..config(&cluster.urls(), 1 << 20) };
    let (_, writer) = open(settings.clone()).await;
    let (_, reader) = open(settings).await;
    let acme = tenant("acme");
    put(&writer, event(&acme, "first")).await;
    let writing = async {
        let mut acked = BTreeMap::new();
        for round in 0..40 {
            if round == 10 {
                let leader = cluster.leader_of("SYNC_LOG_0").await;
                cluster.kill(leader).await;
            }
            let batch: Vec<_> = (0..50).map(|n| event(&acme, format!("{round}.{n}"))).collect();
            for (append, answer) in batch.iter().zip(put_all(&writer, batch.clone()).await) {
                let position = match answer {
                    Ok(Appended { position, .. }) => position,
                    Err(_) => persist(&writer, append).await,
                };
                assert_eq!(acked.insert(position, append.body.clone()), None, "two acks for one position");
            }
        }
        persist(&writer, &event(&acme, "last")).await;
        acked
    };
    let (acked, seen) = in_time(async { tokio::join!(writing, drain_until(&reader, &acme, "last")) }).await;
    assert!(seen.is_sorted_by(|one, next| one.position < next.position), "in order, nothing twice");
    assert_eq!(seen, all_after(&writer, &acme, Position::START).await, "the feed and the log agree");
    assert_eq!(seen.len(), 2 + acked.len(), "nothing that was not sent");
    for (position, body) in acked {
        assert!(seen.iter().any(|record| record.position == position && record.body == body));
    }
}

#[tokio::test]
async fn an_overrun_subscription_is_repaired() {
    let server = NatsServer::start().await;
    let (watched, log) = open(NatsConfig { subscription_capacity: 256, ..usual(&server) }).await;
    let (_, writer) = open(usual(&server)).await;
    let acme = tenant("acme");
    let mut feed = log.follow(&acme).await.expect("followed");
    let mut last = Position::START;
    for _ in 0..20 {
        let answers = put_all(&writer, (0..500).map(|n| event(&acme, format!("{n}"))).collect()).await;
        last = answers.into_iter().map(|answer| answer.expect("appended").position).max().expect("some");
    }
    let (seen, _) = in_time(follow_to(&log, &acme, &mut feed, last)).await;
    assert_eq!(seen.len(), 10_000);
    assert_eq!(seen, all_after(&writer, &acme, Position::START).await);
    assert!(watched.stats().tails_remade > 0, "it was overrun");
}

#[tokio::test]
async fn a_log_made_anew_has_a_new_epoch_and_higher_positions_and_keeps_the_entities() {
    let server = NatsServer::start().await;
    let (_, log) = open(usual(&server)).await;
    let (acme, key) = (tenant("acme"), entity("kept"));
    let kept = put(&log, change(&acme, &key, Expect::Anything, "state")).await;
    let last = put(&log, event(&acme, "x")).await;
    log.keep_cursors(vec![cursor_at(&log, &acme, &instance("ann"), last.0)]).await.expect("kept");
    while entities(&log, &acme).await.is_empty() {}
    let mut feed = log.follow(&acme).await.expect("followed");
    let before = log.epoch(&acme);
    let admin = Admin::connect(&server.url()).await;
    admin.delete_stream("SYNC_LOG_0").await;
    in_time(async { while !matches!(feed.next().await, FeedItem::Ended) {} }).await;
    let feed = until("the new log is followed", async || log.follow(&acme).await.ok()).await;
    assert_ne!(feed.epoch, before);
    assert_eq!(log.epoch(&acme), feed.epoch);
    let next = put(&log, event(&acme, "y")).await;
    assert!(next > last, "positions do not run backwards");
    assert_eq!(log.cursor(&acme, &instance("ann")).await.expect("read").expect("kept").epoch, before);
    let state = log.entity(&acme, &key).await.expect("read").expect("kept");
    assert_eq!((state.position, &state.body[..]), (kept, &b"state"[..]));
}

#[tokio::test]
async fn what_lies_under_a_wrong_subject_is_dropped_and_counted() {
    let server = NatsServer::start().await;
    let (watched, log) = open(usual(&server)).await;
    let acme = tenant("acme");
    let mut feed = log.follow(&acme).await.expect("followed");
    let admin = Admin::connect(&server.url()).await;
    for subject in
        ["sync.log.0.acme.bogus.x", "sync.log.0.acme.event", "sync.log.0.acme.event.a=2e", "sync.log.0.acme.entity.x"]
    {
        admin.client().publish(subject, "{}".into()).await.expect("sent");
    }
    admin.round_trip().await;
    let last = put(&log, event(&acme, "real")).await;
    let (seen, _) = in_time(follow_to(&log, &acme, &mut feed, last)).await;
    assert_eq!(bodies(&seen), ["real"]);
    assert_eq!(bodies(&all_after(&log, &acme, Position::START).await), ["real"]);
    assert!(watched.stats().foreign >= 4, "{:?}", watched.stats());
}

#[tokio::test]
async fn a_full_store_refuses_and_acknowledges_nothing() {
    let server = NatsServer::start_with(ServerConfig::new().max_store("4MB")).await;
    let (_, log) = open(usual(&server)).await;
    let acme = tenant("acme");
    let (mut stored, mut refused) = (Vec::new(), 0);
    for n in 0..100 {
        let append = event(&acme, vec![n; 100_000]);
        match continuum::backbone::append_one(log.as_ref(), append).await {
            Ok(Appended { position, .. }) => stored.push(position),
            Err(AppendError::Full(_) | AppendError::Unavailable(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0 && !stored.is_empty(), "{} stored, {refused} refused", stored.len());
    assert!(matches!(log.health(), Health::Degraded(_)), "{:?}", log.health());
    let held: Vec<_> =
        all_after(&log, &acme, Position::START).await.into_iter().map(|record| record.position).collect();
    assert_eq!(held, stored);
}

#[tokio::test]
async fn a_repeat_past_the_dedupe_window_is_found_in_the_log() {
    let server = NatsServer::start().await;
    let (_, log) = open(usual(&server)).await;
    let acme = tenant("acme");
    let began = put(&log, event(&acme, "before")).await;
    let append = event(&acme, "once");
    let first = put(&log, append.clone()).await;
    let admin = Admin::connect(&server.url()).await;
    // From here on the server forgets at once what the ids of appends were.
    admin.update_stream("SYNC_LOG_0", |config| config["duplicate_window"] = json!(100_000_000)).await;
    let probe = event(&acme, "probe");
    let one = put(&log, probe.clone()).await;
    until("the server has forgotten", async || (put(&log, probe.clone()).await > one).then_some(())).await;
    for _ in 0..3 {
        let again = Append { first_tried: Some(began), ..append.clone() };
        let answer = continuum::backbone::append_one(log.as_ref(), again).await;
        assert_eq!(answer, Ok(Appended { position: first, outcome: Outcome::Duplicate }));
    }
    let fresh = Append { first_tried: Some(began), ..event(&acme, "new") };
    assert!(put(&log, fresh).await > first);
    let records = all_after(&log, &acme, Position::START).await;
    assert_eq!(bodies(&records).iter().filter(|body| *body == "once").count(), 1);
}

#[tokio::test]
async fn what_is_given_up_is_searched_from_before_the_first_try_that_a_client_may_have_made() {
    let server = NatsServer::start().await;
    let acme = tenant("acme");
    let (_, log) = open(usual(&server)).await;
    let append = event(&acme, "once");
    let first = put(&log, append).await;
    assert!(log.known_end(&acme) < first, "its client may not know yet, and repeat it");
    // Another node that starts now reckons with that too.
    let (_, other) = open(usual(&server)).await;
    assert!(other.known_end(&acme) < first);
}

#[tokio::test]
async fn the_same_id_twenty_times_over_two_nodes_makes_one_record() {
    let server = NatsServer::start().await;
    let ((_, one), (_, two)) = (open(usual(&server)).await, open(usual(&server)).await);
    let acme = tenant("acme");
    let append = event(&acme, "once");
    let (first, second) =
        tokio::join!(put_all(&one, vec![append.clone(); 10]), put_all(&two, vec![append.clone(); 10]));
    let answers: Vec<_> = first.into_iter().chain(second).map(|answer| answer.expect("appended")).collect();
    assert!(answers.iter().all(|answer| answer.position == answers[0].position));
    assert_eq!(answers.iter().filter(|answer| answer.outcome == Outcome::Stored).count(), 1);
    for log in [one, two] {
        assert_eq!(all_after(&log, &acme, Position::START).await.len(), 1);
    }
}

#[tokio::test]
async fn rivals_on_two_nodes_change_an_entity_one_after_the_other() {
    let server = NatsServer::start().await;
    let ((_, one), (_, two)) = (open(usual(&server)).await, open(usual(&server)).await);
    let (acme, key) = (tenant("acme"), entity("hot"));
    let change_often = async |log: &SharedBackbone, name: &str| {
        let mut version = Position::START;
        for n in 0..50 {
            loop {
                let append = change(&acme, &key, Expect::Version(version), format!("{name}{n}"));
                match continuum::backbone::append_one(log.as_ref(), append).await {
                    Ok(Appended { position, .. }) => break version = position,
                    Err(AppendError::Conflict { current }) => version = current,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    tokio::join!(change_often(&one, "a"), change_often(&two, "b"));
    assert_eq!(all_after(&one, &acme, Position::START).await.len(), 100, "each change once");
}

#[tokio::test]
async fn a_silent_server_makes_appends_uncertain_and_repeats_find_them() {
    let server = NatsServer::start().await;
    let line = Line::to(server.address()).await;
    let (_, log) = open(config(&line.url(), 1 << 20)).await;
    let acme = tenant("acme");
    put(&log, event(&acme, "first")).await;
    // What goes to the server arrives, its answers do not.
    line.cut_from_server();
    let append = event(&acme, "uncertain");
    let answer = in_time(continuum::backbone::append_one(log.as_ref(), append.clone())).await;
    assert!(matches!(answer, Err(AppendError::Unknown(_))), "{answer:?}");
    assert!(matches!(log.health(), Health::Degraded(_)), "{:?}", log.health());
    let mut line = line;
    line.heal().await;
    let position = in_time(persist(&log, &append)).await;
    let records = all_after(&log, &acme, Position::START).await;
    assert_eq!(bodies(&records), ["first", "uncertain"]);
    assert_eq!(records[1].position, position);
    until("all is well again", async || (log.health() == Health::Serving).then_some(())).await;
}

#[tokio::test]
async fn a_log_opens_without_a_server_and_is_ready_when_it_comes() {
    let server = NatsServer::start().await;
    let url = server.url();
    server.stop().await;
    let opening = tokio::spawn(NatsLog::open(config(&url, 1 << 20)));
    let log: SharedBackbone = std::sync::Arc::new(in_time(opening).await.expect("ran").expect("opens"));
    let acme = tenant("acme");
    assert!(matches!(log.health(), Health::Down(_)), "{:?}", log.health());
    assert_eq!(log.epoch(&acme), Epoch::UNKNOWN);
    let answer = continuum::backbone::append_one(log.as_ref(), event(&acme, "x")).await;
    assert!(matches!(answer, Err(AppendError::Unavailable(_))), "{answer:?}");
    assert!(log.follow(&acme).await.is_err());
    server.start_again().await;
    until("the log is ready", async || (log.health() == Health::Serving).then_some(())).await;
    put(&log, event(&acme, "x")).await;
    assert_ne!(log.epoch(&acme), Epoch::UNKNOWN);
}

#[tokio::test]
async fn a_stream_with_other_settings_is_refused_and_both_sides_are_named() {
    let server = NatsServer::start().await;
    let (_, log) = open(usual(&server)).await;
    log.close().await;
    let other = NatsConfig { retention_age: Some(Duration::from_secs(7_200)), ..usual(&server) };
    let error = NatsLog::open(other).await.expect_err("refused").to_string();
    for part in ["SYNC_LOG_0", "max_age is 3600000000000 and must be 7200000000000", "nats stream edit"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains('\n'), "{error}");
    let server = NatsServer::start_with(ServerConfig::new().without_jetstream()).await;
    let error = NatsLog::open(usual(&server)).await.expect_err("refused").to_string();
    assert!(error.contains("without JetStream") && error.contains("store_dir"), "{error}");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { drop(std::fs::copy(entry.path(), target)) }
    }
}

#[tokio::test]
async fn a_log_that_lost_what_it_had_acknowledged_ends_its_feeds() {
    let server = NatsServer::start().await;
    let (_, log) = open(usual(&server)).await;
    let acme = tenant("acme");
    let kept = put(&log, event(&acme, "kept")).await;
    server.stop().await;
    let before = tempfile::tempdir().expect("a directory");
    copy(&server.store(), before.path());
    server.start_again().await;
    let mut feed = until("the log is followed", async || log.follow(&acme).await.ok()).await;
    let mut last = kept;
    for n in 0..5 {
        last = persist(&log, &event(&acme, format!("{n}"))).await;
    }
    let (seen, _) = in_time(follow_to(&log, &acme, &mut feed, last)).await;
    assert_eq!(seen.len(), 5);
    // As after a power cut that took what was not flushed, or a backup brought back without a new epoch.
    server.stop().await;
    std::fs::remove_dir_all(server.store()).expect("removed");
    copy(before.path(), &server.store());
    server.start_again().await;
    in_time(async { while !matches!(feed.next().await, FeedItem::Ended) {} }).await;
    let feed = until("it is followed again", async || log.follow(&acme).await.ok()).await;
    assert_eq!(feed.after, kept);
}

#[tokio::test]
async fn a_question_that_got_no_answer_is_asked_again() {
    let server = NatsServer::start().await;
    let (_, log) = open(usual(&server)).await;
    let acme = tenant("acme");
    let admin = Admin::connect(&server.url()).await;
    for name in ["a", "b"] {
        put(&log, change(&acme, &entity(name), Expect::Version(Position::START), name)).await;
    }
    // What comes behind the first page is asked of whichever copy answers.
    let mark = until("the first page has a next one", async || {
        log.entities(&acme, None, ReadBudget { records: 1, bytes: usize::MAX }).await.ok()?.next
    })
    .await;
    let state = admin.stream_info("SYNC_STATE_0").await.expect("made")["config"].clone();
    admin.delete_stream("SYNC_STATE_0").await;
    let mut asked = admin.subscribe("$JS.API.DIRECT.GET.SYNC_STATE_0").await;
    admin.round_trip().await;
    let (page, ()) = tokio::join!(log.entities(&acme, Some(mark), ALL), async {
        in_time(asked.next()).await.expect("a question");
        drop(asked);
        admin.create_stream(state).await;
    });
    page.expect("answered in the end");
}
