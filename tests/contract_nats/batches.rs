//! Records that are appended together over lines that break: whole or not at all, and what is certain is called so.

use std::{collections::BTreeMap, sync::Arc};

use continuum::{
    backbone::{AppendError, Expect, SharedBackbone, nats::NatsLog},
    model::Position,
};

use crate::{
    nats_support::{Line, NatsServer, until},
    single::config,
    support::*,
};

#[tokio::test]
async fn records_together_over_a_line_that_breaks_are_whole_or_not_there() {
    const BATCHES: usize = 24;
    let server = NatsServer::start().await;
    let mut line = Line::to(server.address()).await;
    let log: SharedBackbone = Arc::new(NatsLog::open(config(&line.url(), 1 << 20)).await.expect("opens"));
    let acme = tenant("acme");
    let mut told = BTreeMap::new();
    for n in 0..BATCHES {
        let name = format!("batch-{n}");
        let one = |m| change(&acme, &entity(&format!("{n}.{m}")), Expect::Version(Position::START), name.clone());
        let writing = log.append_all((0..20).map(one).collect());
        let breaking = async {
            // At another moment each time: while it asks, sends, or waits for its answer.
            for _ in 0..n * 40 {
                tokio::task::yield_now().await;
            }
            line.snap().await;
            line.heal().await;
        };
        let (answer, ()) = in_time(async { tokio::join!(writing, breaking) }).await;
        told.insert(name, answer);
        let probe = event(&acme, "probe");
        until("the log takes records", async || {
            continuum::backbone::append_one(log.as_ref(), probe.clone()).await.ok()
        })
        .await;
    }
    let mut found: BTreeMap<String, Vec<Position>> = BTreeMap::new();
    for record in until("the log can be read", async || log.read(&acme, Position::START, ALL).await.ok()).await.records
    {
        found.entry(bodies(std::slice::from_ref(&record)).remove(0)).or_default().push(record.position);
    }
    for (name, answer) in &told {
        let there = found.get(name).map_or(&[][..], Vec::as_slice);
        assert!(there.is_empty() || there.len() == 20, "{name} is there in parts: {there:?}");
        match answer {
            Ok(appended) => {
                assert_eq!(there, appended.iter().map(|one| one.position).collect::<Vec<_>>(), "{name}");
            }
            Err(AppendError::Unknown(_)) => {}
            Err(AppendError::Unavailable(_)) => assert!(there.is_empty(), "{name} was said not to be there"),
            Err(other) => panic!("{name}: {other}"),
        }
    }
    let count = |is: fn(&AppendError) -> bool| told.values().filter(|answer| answer.as_ref().is_err_and(is)).count();
    let unknown = count(|error| matches!(error, AppendError::Unknown(_)));
    println!("{} of {BATCHES} stored, {unknown} uncertain", told.values().filter(|answer| answer.is_ok()).count());
    assert!(told.values().any(Result::is_ok), "the line was never whole");
}
