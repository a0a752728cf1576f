//! What becomes of a conflict when a person or an agent chooses: late, wrongly, not at all, or when an answer is lost.

use continuum::replica::Replica;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    PATIENCE, at_node,
    client::{Client, Form, Person, command, hasty, task, update},
    key,
    nats_support::{Line, until},
    open, put,
    support::Node,
    until_seen,
};

const FORMS: [Form; 2] = [Form::Handshake, Form::Alone];

/// `a` and `b`, in one room; there is a person in front of `b`, or none.
struct Pair {
    node: Node,
    dirs: [TempDir; 2],
    a: Client,
    b: Client,
}

/// The write of `b`, as a call of a tool.
fn write() -> Value {
    let mut arguments = update("7", json!({"x": 1}));
    arguments["strategy"] = "manual".into();
    json!({"name": "manage_context", "arguments": arguments})
}

impl Pair {
    /// Both know x=0, and `a` has written x=2, of which `b` knows nothing.
    async fn start(form: Form, person: Person) -> Self {
        let node = Node::start(&[]).await;
        let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
        let mut a = Client::start(command(node.address(), "a", dirs[0].path()), Form::Handshake, None).await;
        let mut b = Client::start(command(node.address(), "b", dirs[1].path()), form, person).await;
        a.call("manage_context", update("7", json!({"x": 0}))).await;
        b.call("context_get", task("7", json!({}))).await;
        a.call("manage_context", update("7", json!({"x": 2}))).await;
        Self { node, dirs, a, b }
    }

    /// What the node has.
    async fn stands(&self) -> Value {
        at_node(self.node.address(), "task:7").await.expect("there")
    }

    /// What `b` has, whether it was shown or not.
    async fn mirror(&self) -> Replica {
        Replica::look(self.dirs[1].path().to_owned()).await.expect("a journal")
    }
}

/// A write of `b` that clashes and is put to a person, who has said nothing yet.
struct Asked {
    pair: Pair,
    form: Form,
    call: u64,
    question: Value,
}

impl Asked {
    async fn start(form: Form) -> Self {
        let mut pair = Pair::start(form, Some("proposed")).await;
        let call = pair.b.begin("tools/call", write()).await;
        let question = pair.b.next().await;
        Self { pair, form, call, question }
    }

    /// The call is made once more, with what there is to say, as the younger form has it.
    async fn repeat(&mut self, said: Option<Value>) -> Value {
        let mut again = write();
        again["requestState"] = self.question["result"]["requestState"].clone();
        if let Some(said) = said {
            again["inputResponses"] = said;
        }
        self.pair.b.request("tools/call", again).await
    }

    /// The person says this; what the call tells then.
    async fn say(&mut self, said: Value) -> Value {
        let answer = match self.form {
            Form::Handshake => {
                assert_eq!(self.question["method"], "elicitation/create", "{}", self.question);
                self.pair.b.send(&json!({"jsonrpc": "2.0", "id": self.question["id"], "result": said})).await;
                self.pair.b.answer(self.call).await
            }
            Form::Alone => self.repeat(Some(json!({"choice": said}))).await,
        };
        let told = answer["result"]["structuredContent"].clone();
        assert!(told.is_object(), "{answer}");
        told
    }
}

fn accepted() -> Value {
    json!({"action": "accept", "content": {"choice": "proposed"}})
}

#[tokio::test]
async fn a_person_who_answers_late_writes_over_nothing_that_came_meanwhile() {
    for form in FORMS {
        let mut asked = Asked::start(form).await;
        asked.pair.a.call("manage_context", update("7", json!({"x": 3}))).await;
        until_seen(&asked.pair.mirror().await, "task:7", |data| data["x"] == 3).await;
        let told = asked.say(accepted()).await;
        assert_eq!((&told["outcome"], &told["current"]["x"]), (&json!("conflict_pending"), &json!(3)), "{told}");
        let stands = asked.pair.stands().await;
        assert_eq!((&stands["data"]["x"], stands["conflicts"].as_array().map(Vec::len)), (&json!(3), Some(1)));
    }
}

#[tokio::test]
async fn an_agent_that_chooses_late_is_told_what_stands_and_may_choose_again() {
    for (form, is_deleted) in [(Form::Handshake, false), (Form::Alone, true)] {
        let mut pair = Pair::start(form, None).await;
        let done = pair.b.call("manage_context", write()["arguments"].clone()).await;
        assert_eq!(done["outcome"], "conflict_pending", "{done}");
        if is_deleted {
            pair.a.call("context_get", task("7", json!({}))).await;
            let gone = pair.a.call("manage_context", task("7", json!({"action": "delete"}))).await;
            assert_eq!(gone["outcome"], "confirmed", "{gone}");
        } else {
            pair.a.call("manage_context", update("7", json!({"x": 3}))).await;
        }
        let mirror = pair.mirror().await;
        until("it is here", async || {
            let seen = mirror.get(key("task:7")).await.expect("read");
            (seen.map(|seen| seen.data["x"].clone()) == (!is_deleted).then(|| json!(3))).then_some(())
        })
        .await;
        let choice = task("7", json!({"action": "resolve", "conflict_id": done["conflict_id"], "choice": "proposed"}));
        let told = pair.b.call("manage_context", choice.clone()).await;
        let stood = if is_deleted { Value::Null } else { json!({"x": 3}) };
        assert_eq!((&told["outcome"], &told["current"]), (&json!("conflict_pending"), &stood), "{told}");
        let stands = at_node(pair.node.address(), "task:7").await.map(|there| there["data"].clone());
        assert_eq!(stands.unwrap_or_default(), stood);
        let told = pair.b.call("manage_context", choice).await;
        assert_eq!((&told["isError"], &pair.stands().await["data"]["x"]), (&json!(false), &json!(1)), "{told}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_leaves_the_conflict_open_and_is_no_error() {
    for form in FORMS {
        for said in [json!({}), json!({"action": "accept", "content": {"choice": 7}}), json!({"action": "decline"})] {
            let mut asked = Asked::start(form).await;
            let told = asked.say(said).await;
            assert_eq!(told["outcome"], "conflict_pending", "{told}");
            let open = asked.pair.stands().await["conflicts"].clone();
            assert_eq!(told["conflict_id"], open[0]["conflict_id"], "{told}");
        }
    }
}

/// What somebody else does to a journal.
fn change(dir: &TempDir, text: &str) {
    let db = rusqlite::Connection::open(dir.path().join("replica.db")).expect("opened");
    db.execute_batch(text).expect("changed");
}

#[tokio::test]
async fn behind_a_write_that_was_taken_nothing_is_an_error() {
    for form in FORMS {
        let mut asked = Asked::start(form).await;
        let no_more = "CREATE TRIGGER no_more BEFORE INSERT ON pending BEGIN SELECT RAISE(FAIL, 'no more'); END";
        change(&asked.pair.dirs[1], no_more);
        let told = asked.say(accepted()).await;
        assert_eq!(told["outcome"], "conflict_pending", "{told}");
        assert!(told["reason"].as_str().is_some_and(|why| why.contains("no more")), "{told}");
        assert_eq!(asked.pair.stands().await["conflicts"].as_array().map(Vec::len), Some(1));
    }
    // Nor if it cannot be read how it stands.
    let (nobody, dir) = ("127.0.0.1:9".parse().expect("an address"), TempDir::new().expect("a directory"));
    let mut start = hasty(nobody, "a", dir.path());
    start.args(["--pull-wait", "200ms", "--push-wait", "200ms", "--flush", "200ms"]);
    let mut a = Client::start(start, Form::Handshake, None).await;
    a.call("who_is_here", json!({})).await;
    change(&dir, "ALTER TABLE change RENAME TO away");
    let told = a.call("publish_event", json!({"event_type": "tests_failed", "data": {}})).await;
    assert_eq!((&told["outcome"], &told["news"]), (&json!("pending"), &Value::Null), "{told}");
    assert!(told["id"].is_string(), "{told}");
    let read = a.request("tools/call", json!({"name": "who_is_here", "arguments": {}})).await;
    assert_eq!(read["error"]["code"], -32603, "{read}");
}

#[tokio::test]
async fn a_call_that_is_repeated_without_an_answer_writes_nothing_again() {
    let mut asked = Asked::start(Form::Alone).await;
    for said in [None, Some(json!({})), Some(json!({"another": {"action": "cancel"}}))] {
        let told = asked.repeat(said).await["result"]["structuredContent"].clone();
        let open = asked.pair.stands().await["conflicts"].clone();
        assert_eq!(open.as_array().map(Vec::len), Some(1), "{told}");
        assert_eq!((&told["outcome"], &told["conflict_id"]), (&json!("conflict_pending"), &open[0]["conflict_id"]));
    }
}

#[tokio::test]
async fn what_may_not_have_been_heard_was_not_shown() {
    for is_killed in [true, false] {
        let Pair { node, dirs, mut a, mut b } = Pair::start(Form::Handshake, None).await;
        let got = b.call("context_get", task("7", json!({}))).await;
        assert_eq!(got["context"]["data"]["x"], 2, "{got}");
        if is_killed {
            // Whether its last answer was read before it died nobody knows.
            b.kill().await;
        } else {
            assert!(b.close().await.success());
        }
        let mut b = Client::start(command(node.address(), "b", dirs[1].path()), Form::Handshake, None).await;
        let done = b.call("manage_context", update("7", json!({"x": 1}))).await;
        let told = if is_killed { json!(2) } else { Value::Null };
        assert_eq!(done["overwritten"][0]["value"], told, "{done}");
        // Who calls again has heard it.
        a.call("context_get", task("7", json!({}))).await;
        let done = a.call("manage_context", update("7", json!({"x": 4}))).await;
        assert_eq!(done["outcome"], "confirmed", "{done}");
    }
}

#[tokio::test]
async fn whose_words_were_written_over_is_told_by_the_whole_name() {
    let node = Node::start(&[]).await;
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let mut b = Client::start(command(node.address(), "b", dirs[0].path()), Form::Handshake, None).await;
    // As long as a name may be: its replica's, which has a mark behind it, may not be longer.
    let longest = "é".repeat(64);
    for (n, (name, told)) in
        [("claude-code-build-server-01~laptop", "claude-code-build-server-01~laptop"), (&longest, &longest[..118])]
            .into_iter()
            .enumerate()
    {
        let a = open(node.address(), name, &dirs[1].path().join(n.to_string())).await;
        a.write(put("task:7", json!({"x": n}))).await.expect("written");
        assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
        let mut write = update("7", json!({"x": "b's"}));
        write["base_version"] = 0.into();
        let done = b.call("manage_context", write).await;
        assert_eq!((&done["overwritten"][0]["value"], &done["overwritten"][0]["by"]), (&json!(n), &json!(told)));
    }
}

#[tokio::test]
async fn what_a_lost_answer_said_is_told_again_and_nobody_is_asked_about_nothing() {
    let node = Node::start(&[]).await;
    let mut line = Line::to(node.address()).await;
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let mut a = Client::start(command(node.address(), "a", dirs[0].path()), Form::Handshake, None).await;
    let mut b = Client::start(command(line.address(), "b", dirs[1].path()), Form::Handshake, Some("current")).await;
    b.call("who_is_here", json!({})).await;
    for (id, strategy) in [("7", "merge"), ("8", "manual")] {
        a.call("manage_context", update(id, json!({"x": 2}))).await;
        let mut arguments = update(id, json!({"x": 1, "b": 1}));
        arguments["strategy"] = strategy.into();
        line.cut_from_server();
        let call = b.begin("tools/call", json!({"name": "manage_context", "arguments": arguments})).await;
        until("the node has it", async || {
            let stands = at_node(node.address(), &format!("task:{id}")).await?;
            (stands["data"]["b"] == 1 || stands["conflicts"] != json!([])).then_some(())
        })
        .await;
        line.snap().await;
        line.heal().await;
        let told = b.answer(call).await["result"]["structuredContent"].clone();
        assert!(told["duplicate"] == true && b.asked.is_empty(), "{told} {:?}", b.asked);
        match strategy {
            "merge" => assert_eq!(told["overwritten_paths"], json!(["/x", "/b"]), "{told}"),
            _ => assert!(told["outcome"] == "conflict_pending" && told["how_to_resolve"].is_string(), "{told}"),
        }
    }
}
