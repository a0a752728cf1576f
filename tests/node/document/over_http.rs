//! The document's examples over HTTP: run in their order against one fresh node, and held to it word for word.
//!
//! A request is `METHOD target`, headers, a blank line, a body; an answer the same behind its status. Of an answer's headers
//! those that the example has are looked at. `…` stands for any text, a value `"…"` for any value, a key `"…"` for any more
//! keys. What the node makes up (ids, page tokens) is learned from the answer in which it comes first, and put in the place
//! of the document's wherever that stands from there on.

use serde_json::Value;

use super::{
    DOCUMENT,
    openapi::{exchange, hold_to_the_description},
};
use crate::support::{
    EventStream, Node, Said,
    http::{self, Response},
    sse,
};

/// The table of routes; what it serves has an example.
const ROUTES: &str = include_str!("../../../src/http/server.rs");
/// The log's epoch in the document.
const EPOCH: &str = "9f86d081884c7d65";
/// Times.
const TIMES: &[&str] = &["at", "connected_at", "timestamp"];
/// What the node makes up.
const MADE: &[&str] = &["conflict_id", "connection_id", "next", "session_id", "updateId"];

/// A request or an answer, taken apart.
struct Block {
    first: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Block {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().expect("a block has a line").to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("a header: {line:?}"));
            (name.to_owned(), value.to_owned())
        };
        Self { first, headers: lines.map(header).collect(), body: body.trim().to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn request(&self) -> (&str, &str) {
        self.first.split_once(' ').unwrap_or_else(|| panic!("'METHOD target': {}", self.first))
    }
}

/// The requests of the document, each with its answer, as they stand.
fn examples() -> Vec<[&'static str; 2]> {
    let parts: Vec<_> = DOCUMENT.split("```http ").skip(1).collect();
    let text = |part: &'static str, side: &str| {
        let text = part.strip_prefix(side).unwrap_or_else(|| panic!("not a {side}: {part:.80}"));
        text.split("```").next().expect("a block ends").trim()
    };
    assert!(parts.len() % 2 == 0, "each request has its answer behind it");
    parts.chunks(2).map(|pair| [text(pair[0], "request\n"), text(pair[1], "response\n")]).collect()
}

/// Whether a text is as the example has it.
pub(super) fn fits(example: &str, text: &str) -> bool {
    let mut parts = example.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// What was learned so far: the document's words and the node's.
struct Reader {
    learned: Vec<(String, String)>,
    /// What was asked and answered.
    exchanges: Vec<Value>,
}

impl Reader {
    fn in_the_nodes_words(&self, text: &str) -> String {
        self.learned.iter().fold(text.to_owned(), |text, (example, made)| text.replace(example, made))
    }

    /// Adds where what was sent differs from its example.
    fn compare(&mut self, example: &Value, sent: &Value, path: &str, found: &mut Vec<String>) {
        match (example, sent) {
            (Value::String(any), _) if any == "…" => {}
            (Value::Object(example), Value::Object(sent)) => {
                for (key, value) in example.iter().filter(|(key, _)| *key != "…") {
                    match sent.get(key) {
                        Some(sent) => self.compare(value, sent, &format!("{path}/{key}"), found),
                        None => found.push(format!("{path}/{key}: not sent")),
                    }
                }
                let is_more = |key: &&String| !example.contains_key(*key) && !example.contains_key("…");
                found.extend(sent.keys().filter(is_more).map(|key| format!("{path}/{key}: not in the document")));
            }
            (Value::Array(example), Value::Array(sent)) if example.len() == sent.len() => {
                for (at, (example, sent)) in example.iter().zip(sent).enumerate() {
                    self.compare(example, sent, &format!("{path}/{at}"), found);
                }
            }
            (Value::String(example), Value::String(sent)) if fits(example, sent) => {}
            (Value::String(example), Value::String(sent)) if self.is_made_up(path, example, sent) => {}
            _ if example == sent => {}
            _ => found.push(format!("{path}: {example} in the document, {sent} sent")),
        }
    }

    /// Whether a text stands where the node's own do; it is learned.
    fn is_made_up(&mut self, path: &str, example: &str, sent: &str) -> bool {
        let key = path.rsplit('/').next().unwrap_or_default();
        if TIMES.contains(&key) {
            return true;
        }
        // What was learned is another value's already.
        let is_new = MADE.contains(&key) && !self.learned.iter().any(|(_, made)| made == example);
        if is_new {
            self.learned.push((example.to_owned(), sent.to_owned()));
        }
        is_new
    }

    /// Sends a request; says where the answer is not as the document has it.
    async fn run(&mut self, node: &Node, [request, response]: [&str; 2]) -> Vec<String> {
        let (request, expected) = (self.in_the_nodes_words(request), self.in_the_nodes_words(response));
        let (request, expected) = (Block::read(&request), Block::read(&expected));
        let (method, target) = request.request();
        if expected.header("Content-Type") == Some("text/event-stream") {
            let target = target.strip_prefix("/v1/").expect("streams are under /v1");
            let mut stream = EventStream::open(node.address(), target, request.header("Last-Event-ID")).await;
            let mut found = self.head(&expected, stream.head());
            for block in expected.body.split("\n\n") {
                let sent = stream.next().await;
                self.said(&sse::said(block), sent, &mut found);
            }
            return found;
        }
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let sent = http::send(node.address(), method, target, &headers, request.body.as_bytes()).await;
        self.exchanges.push(exchange((method, target), &headers, &request.body, &sent));
        let mut found = self.head(&expected, &sent);
        let body = sent.text();
        match serde_json::from_str(&expected.body) {
            Ok(example) => self.compare(&example, &serde_json::from_str(&body).unwrap_or_default(), "", &mut found),
            // A page of text: the lines of the example are among its.
            Err(_) => found.extend(
                expected
                    .body
                    .lines()
                    .filter(|line| !body.lines().any(|sent| fits(line, sent)))
                    .map(|line| format!("not sent: {line}")),
            ),
        }
        if expected.body.is_empty() && !body.is_empty() {
            found.push("a body".into());
        }
        if !found.is_empty() {
            found.push(format!("in {} {:?}\n{body}", sent.status, sent.headers));
        }
        found
    }

    fn head(&self, expected: &Block, sent: &Response) -> Vec<String> {
        let mut found = Vec::new();
        if expected.first != sent.status.to_string() {
            found.push(format!("{} in the document, {} sent", expected.first, sent.status));
        }
        for (name, value) in &expected.headers {
            let other = sent.header(&name.to_ascii_lowercase()).unwrap_or_default();
            if !fits(value, other) {
                found.push(format!("{name}: {value:?} in the document, {other:?} sent"));
            }
        }
        found
    }

    fn said(&mut self, example: &Said, sent: Option<Said>, found: &mut Vec<String>) {
        match (example, sent) {
            (Said::Retry(_), Some(Said::Retry(_))) => {}
            (Said::Event { name, id, data }, Some(Said::Event { name: other, id: other_id, data: sent }))
                if *name == other && id.is_some() == other_id.is_some() =>
            {
                let (id, other_id) = (Value::from(id.as_deref()), Value::from(other_id));
                self.compare(&id, &other_id, &format!("{name}: id"), found);
                self.compare(data, &sent, name, found);
            }
            (Said::Comment(text), Some(Said::Comment(sent))) if *text == sent => {}
            (example, sent) => found.push(format!("{example:?} in the document, {sent:?} said")),
        }
    }
}

#[tokio::test]
async fn every_example_over_http_is_what_the_node_does() {
    let node = Node::start(&[("heartbeat.interval", "1s")]).await;
    // Somebody who is there to be listed.
    let query = "capabilities=memory,learning&user_id=user-1&user_name=John%20Doe";
    let there = node.join_with("default", "claude-456", query).await;
    let epoch = there.ready()["data"]["epoch"].as_str().expect("an epoch").to_owned();
    let mut reader = Reader { learned: vec![(EPOCH.to_owned(), epoch)], exchanges: Vec::new() };
    let mut wrong = Vec::new();
    for example in examples() {
        let found = reader.run(&node, example).await;
        if !found.is_empty() {
            wrong.push(format!("{}\n{}", example[0], found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    hold_to_the_description(&reader.exchanges);
}

/// What the node serves: methods and paths, as its table of routes has them.
pub(super) fn routes() -> Vec<(String, String)> {
    let entity = ROUTES.split_once("const ENTITY: &str = \"").expect("where an entity is").1;
    let entity = entity.split('"').next().expect("the text ends");
    let resources = ROUTES.split("resource(").skip(1).filter(|part| part.contains(".route(web::"));
    let mut routes = Vec::new();
    for resource in resources {
        let path = match resource.split('"').nth(1) {
            _ if resource.starts_with("ENTITY,") => entity.to_owned(),
            Some(path) => path.replace("{ENTITY}", entity).replace("{{", "{").replace("}}", "}"),
            None => panic!("a path: {resource}"),
        };
        for route in resource.split(".route(web::").skip(1) {
            let method = route.split('(').next().expect("a method").to_ascii_uppercase();
            routes.push((method, path.clone()));
        }
    }
    routes
}

fn is_at(path: &str, target: &str) -> bool {
    let target = target.split('?').next().unwrap_or_default();
    let (path, target): (Vec<_>, Vec<_>) = (path.split('/').collect(), target.split('/').collect());
    path.len() == target.len() && path.iter().zip(target).all(|(part, given)| part.starts_with('{') || *part == given)
}

#[test]
fn every_path_that_is_served_has_an_example_that_runs() {
    let routes = routes();
    assert!(routes.len() > 20, "the table of routes is read: {routes:?}");
    let asked: Vec<Block> = examples().iter().map(|[request, _]| Block::read(request)).collect();
    let is_shown = |(method, path): &&(String, String)| {
        asked.iter().map(Block::request).any(|(asked, target)| asked == method && is_at(path, target))
    };
    let missing: Vec<_> = routes.iter().filter(|route| !is_shown(route)).collect();
    assert!(missing.is_empty(), "without an example: {missing:?}");
}

#[test]
fn an_example_is_held_to_the_word() {
    let differ = |example: &str, sent: &str| {
        let (example, sent) = (serde_json::from_str(example), serde_json::from_str(sent));
        let mut found = Vec::new();
        Reader { learned: Vec::new(), exchanges: Vec::new() }.compare(
            &example.expect("JSON"),
            &sent.expect("JSON"),
            "",
            &mut found,
        );
        found.len()
    };
    assert_eq!(differ(r#"{"a":1,"at":"1","b":["…",{"…":"…"}]}"#, r#"{"a":1,"at":"2","b":[7,{"c":1}]}"#), 0);
    for sent in [r#"{"a":2}"#, r#"{"a":"1"}"#, r#"{"a":null}"#, "{}", r#"{"a":1,"b":1}"#, "[]"] {
        assert!(differ(r#"{"a":1}"#, sent) > 0, "{sent}");
    }
    for (example, sent) in
        [("[1]", "[]"), ("[]", "[1]"), (r#""a…c""#, r#""acd""#), (r#"{"next":"x"}"#, r#"{"next":null}"#)]
    {
        assert!(differ(example, sent) > 0, "{example} {sent}");
    }
    assert!(fits("a…c", "abc") && fits("…", "") && fits("a…c…e", "abcde") && !fits("abc", "ab") && !fits("a…b", "c"));
}
