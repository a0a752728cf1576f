//! Figures for `docs/performance.md`: what a change costs among a thousand subscriptions to rectangles, hops, ids and
//! queries of one room. `cargo bench --bench interests`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use continuum::model::{
    EntityKey, Position,
    entity::Owner,
    interest::{Area, Change, Content, Index, Interest, InterestId, Query, Touched},
    record::Viewer,
    rights::Rights,
};
use serde_json::json;

const KINDS: [&str; 3] = ["todo", "done", "later"];

fn key(kind: &str, id: impl ToString) -> EntityKey {
    EntityKey::new(kind, &id.to_string()).expect("a key")
}

fn query(kind: &str, text: &str) -> Interest {
    let condition = cel::Program::compile(text).expect("a condition");
    Interest::Matching(Arc::new(Query::new(kind, Some(condition)).expect("a cheap one")))
}

fn area(x: f64, y: f64, width: f64, height: f64) -> Interest {
    Interest::Area(Area::new(x, y, width, height).expect("a rectangle"))
}

fn main() {
    const NODES: usize = 20_000;
    let mut random = fastrand::Rng::with_seed(7);
    let mut index = Index::new(10_000);
    let place = |random: &mut fastrand::Rng| (random.f64() * 1_000.0, random.f64() * 1_000.0);
    let entity = |random: &mut fastrand::Rng, n: usize| {
        let nth = n % 3;
        let (x, y) = place(random);
        let other = |random: &mut fastrand::Rng| format!("n{}", random.usize(..NODES / 3));
        match nth {
            0 => (key("node", format!("n{}", n / 3)), json!({"x": x, "y": y, "label": "a thought"})),
            1 => (key("edge", n), json!({"from": other(random), "to": other(random)})),
            _ => {
                let owner = format!("user {}", random.u16(..500));
                (key("task", n), json!({"state": KINDS[random.usize(..3)], "owner": owner, "size": random.u8(..)}))
            }
        }
    };
    index.keep_graph();
    for n in 0..1_000_u64 {
        let (x, y) = place(&mut random);
        let node: Arc<str> = format!("n{}", random.usize(..NODES / 3)).into();
        let interest = match n % 6 {
            0 | 2 => area(x, y, 50.0, 50.0),
            1 | 3 => query("task", &format!("owner == 'user {}' && size > 100", n / 2)),
            4 => Interest::Around { node, hops: 2 },
            _ => Interest::Ids((0..20).map(|_| key("node", format!("n{}", random.usize(..NODES / 3)))).collect()),
        };
        index.add(InterestId(n), Viewer::new(Some(Owner::User("ann".into())), Arc::new(Rights::all())), interest);
    }
    for n in 0..1_000 {
        assert!(index.begin(InterestId(n)));
        index.searched(InterestId(n));
    }
    let mut version = 0;
    let mut run = |index: &mut Index,
                   random: &mut fastrand::Rng,
                   what: &str,
                   numbers: Vec<usize>,
                   touched: Touched<'_>| {
        let entities: Vec<_> = numbers.iter().map(|n| entity(random, *n)).collect();
        let (from, mut updates, mut slowest) = (Instant::now(), 0, Duration::ZERO);
        for (key, fields) in &entities {
            version += 1;
            let fields = fields.as_object().expect("an object");
            let content = Some(Content { fields, private_to: None });
            let one = Instant::now();
            updates += index.see(&Change { key, version: Position(version), content, touched }).len();
            slowest = slowest.max(one.elapsed());
        }
        let (count, took) = (entities.len(), from.elapsed());
        println!("{what}: {count} changes, {:?} each, the slowest {slowest:?}, {updates} updates", took / count as u32);
    };
    run(&mut index, &mut random, "made", (0..NODES).collect(), Touched::All);
    let many = |random: &mut fastrand::Rng| (0..NODES).map(|_| random.usize(..NODES)).collect::<Vec<_>>();
    let numbers = many(&mut random);
    run(&mut index, &mut random, "changed", numbers, Touched::All);
    for nth in 0..3 {
        let numbers = many(&mut random).into_iter().map(|n| n / 3 * 3 + nth).collect();
        run(&mut index, &mut random, ["nodes moved", "edges moved", "tasks changed"][nth], numbers, Touched::All);
    }
    println!("{} entities in {} results, {} nodes and edges", index.held(), index.len(), index.graph_len());
}
