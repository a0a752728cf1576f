//! The state of a room with very many entities, taken while it changes: whole, with nothing doubled, and a page at a time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    fs,
    time::Instant,
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Node, Wire, http};

/// Operations in one request.
const TOGETHER: usize = 1_000;
/// Requests at a time.
const SIDE_BY_SIDE: usize = 4;
/// What an entity holds beside its numbers, in bytes.
const PADDING: usize = 1_000;
/// Bytes.
pub const MIB: u64 = 1 << 20;

/// How large it is, and what it may cost.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// So many of a little more than 1 KB.
    pub entities: usize,
    /// By how much the node's memory may rise while the state is taken, in bytes.
    pub most: u64,
}

/// A room and what is known to stand in it: of each entity the version, `None` for one that is deleted.
struct Room {
    node: Node,
    known: HashMap<String, (u64, Option<u64>)>,
    /// How many changes were made so far.
    changes: u64,
}

/// What somebody has put together.
#[derive(Default)]
struct Copy {
    entities: HashMap<String, (u64, Option<u64>)>,
    /// What pages showed, so that nothing is shown twice.
    shown: BTreeSet<(String, u64)>,
}

impl Copy {
    fn page(&mut self, entities: &Value) -> u64 {
        let entities = entities.as_array().expect("entities");
        for entity in entities {
            let (id, version) = (text(&entity["entity_id"]), number(&entity["version"]));
            assert!(self.shown.insert((id.clone(), version)), "shown twice: {id} at {version}");
            self.keep(id, version, Some(number(&entity["data"]["round"])));
        }
        entities.len() as u64
    }

    fn record(&mut self, record: &Value) {
        let event = &record["data"]["event"];
        let round = (event["action"] != "delete").then(|| number(&event["data"]["round"]));
        self.keep(text(&event["entity_id"]), number(&record["seq"]), round);
    }

    /// Keeps the latest.
    fn keep(&mut self, id: String, version: u64, round: Option<u64>) {
        let known = self.entities.entry(id).or_default();
        if known.0 < version {
            *known = (version, round);
        }
    }

    fn assert_is(&self, known: &HashMap<String, (u64, Option<u64>)>) {
        // What was deleted before anybody told of it is nowhere.
        let there = |of: &HashMap<String, (u64, Option<u64>)>| -> BTreeMap<String, (u64, Option<u64>)> {
            of.iter().filter(|(_, (_, round))| round.is_some()).map(|(id, entity)| (id.clone(), *entity)).collect()
        };
        let (copied, known) = (there(&self.entities), there(known));
        assert_eq!(copied.len(), known.len(), "as many as there are");
        let wrong = copied.iter().zip(&known).find(|(one, other)| one != other);
        assert_eq!(wrong, None);
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

impl Room {
    async fn filled(entities: usize) -> Self {
        let node = Node::start(&[]).await;
        let mut room = Self { node, known: HashMap::new(), changes: 0 };
        let numbers: Vec<usize> = (0..entities).collect();
        for chunks in numbers.chunks(TOGETHER * SIDE_BY_SIDE) {
            let requests = chunks.chunks(TOGETHER).map(|numbers| {
                let make = |n: &usize| operation(&format!("e{n}"), "create", Some(0));
                numbers.iter().map(make).collect()
            });
            let answers = join_all(requests.map(|operations| operate(&room.node, operations))).await;
            room.known.extend(answers.into_iter().flatten());
        }
        assert_eq!(room.known.len(), entities);
        room
    }

    /// Changes some, deletes one and makes a new one: in front of whoever reads on, and behind.
    async fn change(&mut self, entities: usize) {
        self.changes += 1;
        let round = self.changes;
        let at = |step: u64| format!("e{}", (round * 7_919 + step * 4_813) as usize % entities);
        let mut operations: BTreeMap<String, Value> = BTreeMap::new();
        for step in 0..4 {
            operations.insert(at(step), operation(&at(step), "put", Some(round)));
        }
        operations.insert(at(4), operation(&at(4), "delete", None));
        let new = format!("new{round}");
        operations.insert(new.clone(), operation(&new, "put", Some(round)));
        let answers = operate(&self.node, operations.into_values().collect()).await;
        self.known.extend(answers);
    }

    /// Has the node read everything once.
    async fn read_through(&self) {
        let mut page_of = String::new();
        loop {
            let page = self.node.get(&format!("/v1/tenants/t/snapshot?limit=1000{page_of}")).await.text();
            // Behind all entities, so that they need not be read here.
            let (_, end) = page.rsplit_once("\"next\":").expect("where it goes on");
            match end.split('"').nth(1) {
                Some(next) if end.starts_with('"') => page_of = format!("&page={next}"),
                _ => break,
            }
        }
    }

    /// The state over the socket, with every change as it comes.
    async fn over_the_socket(&mut self, entities: usize) -> (usize, u64) {
        let address = self.node.address();
        let mut wire = Wire::connect(address, "tenant_id=t&instance_id=late").await.expect("it serves");
        wire.expect("caught_up").await.expect("it serves");
        let wish = json!({"event_type": "graph.sync", "data": {"id": "s", "types": ["doc"]}});
        wire.send(&wish).await.expect("it serves");
        let (mut copy, mut before, mut done, mut reached) = (Copy::default(), Progress::default(), false, 0);
        let last = |known: &HashMap<String, (u64, Option<u64>)>| known.values().map(|(version, _)| *version).max();
        while !done || Some(reached) < last(&self.known) {
            let message = wire.next().await.expect("it serves");
            if message["event_type"] == "graph.sync" {
                let data = &message["data"];
                let shown = copy.page(&data["entities"]);
                done = data["done"] == true;
                before = before.next(&data["progress"], shown);
                assert_eq!(number(&data["progress"]["pages"]), before.pages);
                self.change(entities).await;
            } else if message.get("seq").is_some() {
                reached = number(&message["seq"]);
                copy.record(&message);
            }
        }
        assert!(before.reached >= before.of, "{before:?}");
        copy.assert_is(&self.known);
        (before.pages as usize, before.entities)
    }

    /// The same over HTTP.
    async fn over_http(&mut self, entities: usize) -> (usize, u64) {
        let (mut copy, mut before, mut page_of) = (Copy::default(), Progress::default(), String::new());
        let mut cursor = loop {
            let page = self.node.get(&format!("/v1/tenants/t/snapshot?limit=1000{page_of}")).await.json();
            let shown = copy.page(&page["entities"]);
            before = before.next(&page["progress"], shown);
            self.change(entities).await;
            match page["next"].as_str() {
                Some(next) => page_of = format!("&page={next}"),
                None => break text(&page["cursor"]),
            }
        };
        assert!(before.reached >= before.of, "{before:?}");
        loop {
            let page = self.node.get(&format!("/v1/tenants/t/events?limit=1000&after={cursor}")).await.json();
            assert_eq!(page["resync"], Value::Null);
            page["events"].as_array().expect("events").iter().for_each(|record| copy.record(record));
            cursor = text(&page["cursor"]);
            if page["more"] == false {
                break;
            }
        }
        copy.assert_is(&self.known);
        (before.pages as usize, before.entities)
    }
}

/// How far a state has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    pages: u64,
    entities: u64,
    reached: u64,
    of: u64,
}

impl Progress {
    /// The next page's, which shows so many.
    fn next(self, shown: &Value, entities: u64) -> Self {
        let (pages, of) = (self.pages + 1, number(&shown["of"]));
        let next = Self { pages, entities: number(&shown["entities"]), reached: number(&shown["reached"]), of };
        assert_eq!(next.entities, self.entities + entities, "it counts what it shows: {shown}");
        assert!(self.reached <= next.reached, "{shown} after {self:?}");
        assert!(self.pages == 0 || self.of == of, "{shown} after {self:?}");
        next
    }
}

fn operation(id: &str, action: &str, round: Option<u64>) -> Value {
    let mut operation = json!({"instance_id": "a", "entity_type": "doc", "entity_id": id, "action": action});
    if let Some(round) = round {
        let padding = format!("{id} ").repeat(PADDING / (id.len() + 1));
        operation["data"] = json!({"round": round, "padding": padding});
    }
    operation
}

/// Has operations done; of each entity its version and its round.
async fn operate(node: &Node, operations: Vec<Value>) -> Vec<(String, (u64, Option<u64>))> {
    let body = Value::from(operations.clone()).to_string();
    let answer = http::post(node.address(), "/v1/tenants/t/operations", body.as_bytes()).await.json();
    let results = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let done = operations.iter().zip(results).map(|(operation, result)| {
        assert!(number(&result["status"]) < 300, "{result}");
        (text(&operation["entity_id"]), (number(&result["version"]), operation["data"]["round"].as_u64()))
    });
    done.collect()
}

/// A figure of a process's memory, in bytes.
fn memory(node: &Node, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a figure");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Fills a room, and takes its state twice; fails if anything is missed or doubled, or costs too much.
pub async fn run(plan: Plan) -> String {
    let begun = Instant::now();
    let mut room = Room::filled(plan.entities).await;
    let (mut report, took) = (String::new(), begun.elapsed());
    let _ = writeln!(report, "filled {} in {took:.1?}: {}", plan.entities, in_mib(memory(&room.node, "VmRSS")));
    // The store keeps what it has read of late, up to a bound of its own: first that is filled.
    let cold = memory(&room.node, "VmRSS");
    room.read_through().await;
    let warm = memory(&room.node, "VmRSS");
    let _ = writeln!(report, "read through once: rose by {}", in_mib(warm.saturating_sub(cold)));
    for way in ["socket", "HTTP"] {
        let before = memory(&room.node, "VmRSS");
        // The peak begins anew here.
        fs::write(format!("/proc/{}/clear_refs", room.node.pid()), "5").expect("a process of ours");
        let begun = Instant::now();
        let (pages, shown) = match way {
            "socket" => room.over_the_socket(plan.entities).await,
            _ => room.over_http(plan.entities).await,
        };
        let (rise, took) = (memory(&room.node, "VmHWM").saturating_sub(before), begun.elapsed());
        let rose = in_mib(rise);
        let _ = writeln!(report, "over {way}: {shown} in {pages} pages in {took:.1?}, at most {rose} more");
        assert!(rise < plan.most, "over {way} the node's memory rose too far:\n{report}");
    }
    report
}

fn in_mib(bytes: u64) -> String {
    let tenths = bytes * 10 / MIB;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[tokio::test]
async fn a_large_state_is_taken_while_it_changes_and_the_node_holds_no_more_than_a_few_pages_of_it() {
    // All of it is some 28 MiB in the log.
    println!("{}", run(Plan { entities: 20_000, most: 12 * MIB }).await);
}
