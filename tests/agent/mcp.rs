//! The notebook as clients of the Model Context Protocol have it: real processes, the real protocol.

use continuum::replica::Replica;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    at_node,
    client::{Client, Form, Person, command, hasty, task, update},
    key,
    nats_support::{Line, NatsCluster, until, within},
    support::{self, Node},
};

const FORMS: [Form; 2] = [Form::Handshake, Form::Alone];

async fn client(node: &Node, instance: &str, dir: &TempDir, form: Form, person: Person) -> Client {
    Client::start(command(node.address(), instance, dir.path()), form, person).await
}

#[tokio::test]
async fn the_tools_do_what_they_say_in_both_forms_of_the_protocol() {
    for form in FORMS {
        let node = Node::start(&[]).await;
        let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
        let mut a = client(&node, "a", &dirs[0], form, None).await;
        let mut b = client(&node, "b", &dirs[1], form, None).await;
        let tools = a.request("tools/list", json!({})).await;
        let names: Vec<_> =
            tools["result"]["tools"].as_array().expect("tools").iter().map(|tool| tool["name"].clone()).collect();
        assert_eq!(
            names,
            ["manage_context", "context_get", "context_search", "context_changes", "who_is_here", "publish_event"]
        );
        for tool in tools["result"]["tools"].as_array().expect("tools") {
            let reads = tool["name"].as_str().is_some_and(|name| name.starts_with("context_") || name == "who_is_here");
            assert_eq!(tool["annotations"]["readOnlyHint"], reads, "{tool}");
            assert_eq!(tool["inputSchema"]["type"], "object");
        }

        // News is what happens from now on: it has read what is there when its first answer comes.
        let first = b.call("who_is_here", json!({})).await;
        assert_eq!(first["sync"]["status"], "synced", "{first}");

        // The seed's own call.
        let data =
            json!({"files_read": ["auth/config.py", "utils/jwt.py"], "understanding": "basic JWT without refresh"});
        let done = a.call("manage_context", update("7", data.clone())).await;
        assert_eq!((&done["outcome"], &done["context"]["data"]), (&json!("confirmed"), &data), "{done}");
        assert_eq!((&done["sync"]["status"], &done["sync"]["pending"]), (&json!("synced"), &json!(0)), "{done}");

        // The other one has it before its next tool runs, and is told whose it is.
        let got = b.call("context_get", task("7", json!({}))).await;
        assert_eq!(
            (&got["found"], &got["context"]["data"], &got["context"]["changed_by"]),
            (&json!(true), &data, &json!("a")),
            "{got}"
        );
        assert!(got["note"].as_str().is_some_and(|note| note.contains("Not instructions")), "{got}");
        let news = got["news"]["from_others"].as_array().expect("news").clone();
        assert!(news.iter().any(|one| one["by"] == "a" && one["context_id"] == "7"), "{got}");
        let again = b.call("context_get", task("7", json!({}))).await;
        assert_eq!(again["news"]["from_others"], json!([]), "told once: {again}");

        // Search is ranked; names weigh more.
        a.call("manage_context", update("8", json!({"note": "nothing about it"}))).await;
        a.call("manage_context", update("jwt", json!({"note": "a plan"}))).await;
        let found = b.call("context_search", json!({"query": "jwt"})).await;
        let ids: Vec<_> =
            found["results"].as_array().expect("results").iter().map(|hit| hit["context_id"].clone()).collect();
        assert_eq!(ids, ["jwt", "7"], "{found}");
        let none = b.call("context_search", json!({"query": "jwt", "level": "branch"})).await;
        assert_eq!(none["results"], json!([]));

        // Who is here, and an event for all.
        let here = b.call("who_is_here", json!({})).await;
        assert!(here["others"].as_array().expect("others").iter().any(|one| one["instance_id"] == "a"), "{here}");
        let said = a
            .call("publish_event", json!({"event_type": "decision_made", "data": {"title": "use refresh tokens"}}))
            .await;
        assert_eq!(said["outcome"], "stored", "{said}");
        let news = b.call("context_changes", json!({})).await;
        let events: Vec<_> =
            news["changes"].as_array().expect("changes").iter().filter(|one| one["event"] == "decision_made").collect();
        assert_eq!((events.len(), &events[0]["data"]["title"]), (1, &json!("use refresh tokens")), "{news}");

        // What makes no sense is told with what to do.
        let wrong = a.call("manage_context", json!({"action": "get"})).await;
        assert_eq!(wrong["isError"], true);
        assert!(wrong["text"].as_str().is_some_and(|text| text.contains("level")), "{wrong}");
        let unknown = a.request("tools/call", json!({"name": "rm_rf", "arguments": {}})).await;
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
        let malformed = a.request("tools/call", json!({"name": "context_get", "arguments": "x"})).await;
        assert_eq!(malformed["error"]["code"], -32602, "{malformed}");
        let gone = a.call("manage_context", task("7", json!({"action": "delete"}))).await;
        assert_eq!(gone["outcome"], "confirmed", "{gone}");
        assert_eq!(b.call("context_get", task("7", json!({}))).await["found"], false);
        let status = a.call("manage_context", json!({"action": "status"})).await;
        assert_eq!(
            (&status["metrics"]["success_rate"], &status["metrics"]["conflict_rate"]),
            (&json!(1.0), &json!(0.0)),
            "{status}"
        );
        assert!(status["metrics"]["avg_latency_ms"].is_number() && status["metrics"]["cache_hit_rate"].is_number());
        // What happened while it was away is news when it comes back.
        assert!(b.close().await.success());
        a.call("manage_context", update("9", json!({"meanwhile": true}))).await;
        let mut b = client(&node, "b", &dirs[1], form, None).await;
        let back = b.call("who_is_here", json!({})).await;
        let news: Vec<_> =
            back["news"]["from_others"].as_array().expect("news").iter().map(|one| one["context_id"].clone()).collect();
        assert_eq!(news, ["9"], "{back}");
        assert!(a.close().await.success() && b.close().await.success());
    }
}

#[tokio::test]
async fn contexts_are_resources_and_their_changes_are_told() {
    for form in FORMS {
        let node = Node::start(&[]).await;
        let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
        let mut a = client(&node, "a", &dirs[0], form, None).await;
        // Nobody else was here when it was written: the state itself says whose it is.
        a.call("manage_context", update("7", json!({"n": 1}))).await;
        let mut b = client(&node, "b", &dirs[1], form, None).await;
        b.call("context_get", task("7", json!({}))).await;
        let listed = b.request("resources/list", json!({})).await;
        let address = listed["result"]["resources"][0]["uri"].clone();
        assert_eq!(address, "continuum://context/task/7", "{listed}");
        let read = b.request("resources/read", json!({"uri": address})).await;
        let text = read["result"]["contents"][0]["text"].as_str().expect("a text");
        let told: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!((&told["context"]["data"], &told["context"]["changed_by"]), (&json!({"n": 1}), &json!("a")));
        let missing = b.request("resources/read", json!({"uri": "continuum://context/task/none"})).await;
        assert!(missing["error"].is_object(), "{missing}");
        match form {
            Form::Handshake => {
                let subscribed = b.request("resources/subscribe", json!({"uri": address})).await;
                assert!(subscribed["result"].is_object(), "{subscribed}");
            }
            Form::Alone => {
                b.begin("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": [address]}})).await;
                let heard = b.next().await;
                assert_eq!(heard["method"], "notifications/subscriptions/acknowledged", "{heard}");
            }
        }
        a.call("manage_context", update("7", json!({"n": 2}))).await;
        let heard = b.next().await;
        assert_eq!(
            (&heard["method"], &heard["params"]["uri"]),
            (&json!("notifications/resources/updated"), &address),
            "{heard}"
        );
    }
}

/// `a` and `b` change the same field; `b` knows nothing of what `a` did.
async fn clash(a: &mut Client, b: &mut Client, strategy: &str) -> Value {
    a.call("manage_context", update("7", json!({"state": "open"}))).await;
    b.call("context_get", task("7", json!({}))).await;
    a.call("manage_context", update("7", json!({"state": "a's"}))).await;
    let mut write = update("7", json!({"state": "b's"}));
    write["strategy"] = strategy.into();
    b.call("manage_context", write).await
}

#[tokio::test]
async fn a_conflict_is_put_to_the_person_where_there_is_one() {
    for form in FORMS {
        for (choice, holds) in [("proposed", "b's"), ("current", "a's")] {
            let node = Node::start(&[]).await;
            let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
            let mut a = client(&node, "a", &dirs[0], form, None).await;
            let mut b = client(&node, "b", &dirs[1], form, Some(choice)).await;
            let done = clash(&mut a, &mut b, "manual").await;
            assert_eq!(b.asked.len(), 1, "{done}");
            let question = b.asked[0]["message"].as_str().expect("a question");
            assert!(question.contains("a's") && question.contains("b's"), "{question}");
            assert_eq!(done["context"]["data"]["state"], holds, "{done}");
            let stands = at_node(node.address(), "task:7").await.expect("there");
            assert_eq!(
                (&stands["data"]["state"], &stands["conflicts"]),
                (&json!(holds), &json!([])),
                "{form:?} {choice}"
            );
        }
    }
}

#[tokio::test]
async fn a_conflict_that_a_person_leaves_waits_and_says_how_to_settle_it() {
    for form in FORMS {
        let node = Node::start(&[]).await;
        let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
        let mut a = client(&node, "a", &dirs[0], form, None).await;
        let mut b = client(&node, "b", &dirs[1], form, Some("leave")).await;
        let done = clash(&mut a, &mut b, "manual").await;
        assert_eq!((b.asked.len(), &done["outcome"]), (1, &json!("conflict_pending")), "{done}");
        let id = done["conflict_id"].as_str().expect("an id");
        assert!(done["how_to_resolve"].as_str().is_some_and(|how| how.contains(id)), "{done}");
        let stands = at_node(node.address(), "task:7").await.expect("there");
        assert_eq!(stands["conflicts"][0]["conflict_id"], id, "{form:?}: {stands}");
    }
}

#[tokio::test]
async fn a_conflict_that_nobody_can_be_asked_about_waits_and_says_how_to_settle_it() {
    for form in FORMS {
        let node = Node::start(&[]).await;
        let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
        let mut a = client(&node, "a", &dirs[0], form, None).await;
        let mut b = client(&node, "b", &dirs[1], form, None).await;
        let done = clash(&mut a, &mut b, "manual").await;
        assert_eq!((&done["outcome"], &done["isError"]), (&json!("conflict_pending"), &json!(false)), "{done}");
        let id = done["conflict_id"].as_str().expect("an id").to_owned();
        assert!(done["how_to_resolve"].as_str().is_some_and(|how| how.contains(&id)), "{done}");
        // The other one learns of it too, and may settle it.
        let open = until("it is known what lies open", async || {
            let status = a.call("manage_context", json!({"action": "status"})).await;
            (status["sync"]["conflicted"] == 1).then(|| status["conflicts"][0].clone())
        });
        assert_eq!((&open.await["conflict_id"], id.is_empty()), (&json!(id), false));
        let choice =
            task("7", json!({"action": "resolve", "conflict_id": id, "choice": "merged", "data": {"state": "both"}}));
        let settled = a.call("manage_context", choice).await;
        assert_eq!(settled["isError"], false, "{settled}");
        assert_eq!(at_node(node.address(), "task:7").await.expect("there")["data"]["state"], "both");
    }
}

#[tokio::test]
async fn what_was_never_shown_is_never_written_over_in_silence() {
    let node = Node::start(&[]).await;
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let mut a = client(&node, "a", &dirs[0], Form::Handshake, None).await;
    let mut b = client(&node, "b", &dirs[1], Form::Alone, None).await;
    a.call("manage_context", update("7", json!({"state": "a's", "other": 1}))).await;
    // It is in the mirror of b already, but b never looked.
    b.call("who_is_here", json!({})).await;
    let done = b.call("manage_context", update("7", json!({"state": "b's"}))).await;
    assert_eq!(
        (&done["outcome"], &done["overwritten"][0]["value"]),
        (&json!("conflict_resolved"), &json!("a's")),
        "{done}"
    );
    assert_eq!(done["context"]["data"], json!({"state": "b's", "other": 1}));
    // Having seen it, b may.
    let done = b.call("manage_context", update("7", json!({"state": "b's again"}))).await;
    assert_eq!(done["outcome"], "confirmed", "{done}");
}

#[tokio::test]
async fn without_a_node_it_goes_on_and_says_so() {
    let node = Node::start(&[]).await;
    let mut line = Line::to(node.address()).await;
    let dir = TempDir::new().expect("a directory");
    let mut start = hasty(line.address(), "a", dir.path());
    // A write waits longer than this test does, unless it is known that there is nobody to wait for.
    start.args(["--pull-wait", "200ms", "--push-wait", "5min", "--flush", "200ms"]);
    let mut a = Client::start(start, Form::Handshake, None).await;
    until("it is there", async || {
        a.call("manage_context", update("7", json!({"n": 1}))).await;
        let stands = at_node(node.address(), "task:7").await?;
        (stands["data"]["n"] == 1).then_some(())
    })
    .await;
    until("nothing waits", async || {
        let status = a.call("manage_context", json!({"action": "status"})).await;
        (status["sync"]["pending"] == 0).then_some(())
    })
    .await;
    line.snap().await;
    until("it notices", async || {
        let status = a.call("manage_context", json!({"action": "status"})).await;
        (status["sync"]["connection"]["state"] == "offline").then_some(())
    })
    .await;
    let done = a.call("manage_context", update("7", json!({"n": 2}))).await;
    assert_eq!((&done["outcome"], &done["context"]["data"]["n"]), (&json!("pending"), &json!(2)), "{done}");
    assert_eq!(
        (&done["sync"]["pending"], &done["sync"]["connection"]["state"]),
        (&json!(1), &json!("offline")),
        "{done}"
    );
    assert!(done["sync"]["note"].is_string(), "{done}");
    assert!(a.close().await.success());
    // A person can look at it.
    let listed = continuum(&["journal", "ls", "--json", "--dir", &dir.path().display().to_string()]).await;
    let listed: Value = serde_json::from_str(&listed).expect("one line");
    assert_eq!((&listed["state"], &listed["entity"]), (&json!("pending"), &json!("task:7")), "{listed}");
    let status: Value =
        serde_json::from_str(&continuum(&["mcp", "status", "--dir", &dir.path().display().to_string()]).await)
            .expect("JSON");
    assert_eq!((&status["instance"], &status["status"]["pending"]), (&json!("a"), &json!(1)), "{status}");
    assert!(status["metrics"]["success_rate"].is_number(), "{status}");
    // And it goes out next time.
    line.heal().await;
    let mut a = client(&node, "a", &dir, Form::Alone, None).await;
    until("it is settled", async || {
        let status = a.call("manage_context", json!({"action": "status"})).await;
        (status["sync"]["pending"] == 0).then_some(())
    })
    .await;
    assert_eq!(at_node(node.address(), "task:7").await.expect("there")["data"]["n"], 2);
}

#[tokio::test]
async fn what_was_refused_can_be_seen_tried_again_and_dropped() {
    let node = Node::start(&[]).await;
    let dir = TempDir::new().expect("a directory");
    let place = dir.path().display().to_string();
    let mut a = client(&node, "a", &dir, Form::Handshake, None).await;
    a.call("manage_context", update("7", json!({"n": 1}))).await;
    let b_dir = TempDir::new().expect("a directory");
    let mut b = client(&node, "b", &b_dir, Form::Handshake, None).await;
    // What it was never shown it may not delete, as others may have changed it.
    let early = b.call("manage_context", task("7", json!({"action": "delete"}))).await;
    assert_eq!((&early["isError"], &early["code"]), (&json!(true), &json!("edited")), "{early}");
    b.call("context_get", task("7", json!({}))).await;
    let done = b.call("manage_context", task("7", json!({"action": "delete"}))).await;
    assert_eq!(done["outcome"], "confirmed", "{done}");
    let mut write = update("7", json!({"n": 2}));
    write["base_version"] = 1.into();
    let refused = a.call("manage_context", write).await;
    assert_eq!((&refused["isError"], &refused["code"]), (&json!(true), &json!("deleted")), "{refused}");
    let listed = continuum(&["journal", "ls", "--dir", &place]).await;
    assert!(listed.contains("refused") && listed.contains("(deleted)"), "{listed}");
    let number = listed.split_whitespace().next().expect("a number").to_owned();
    // On what stands now it makes it anew.
    let again = continuum(&["journal", "retry", &number, "--dir", &place]).await;
    assert!(again.contains("once more"), "{again}");
    until("it is done", async || {
        let stands = at_node(node.address(), "task:7").await?;
        (stands["data"]["n"] == 2).then_some(())
    })
    .await;
    let mut write = task("none", json!({"action": "delete"}));
    write["base_version"] = 1_000_000.into();
    let refused = a.call("manage_context", write).await;
    assert_eq!(refused["isError"], true, "{refused}");
    let listed = continuum(&["journal", "ls", "--dir", &place]).await;
    let number = listed.split_whitespace().next().expect("a number").to_owned();
    continuum(&["journal", "drop", &number, "--dir", &place]).await;
    assert!(continuum(&["journal", "ls", "--dir", &place]).await.contains("0 wait, 0 were refused"));
}

/// Runs a command to its end; what it printed.
async fn continuum(arguments: &[&str]) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_continuum")).args(arguments).output();
    let ran = within("a command ends", ran).await.expect("it can be started");
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("UTF-8")
}

#[tokio::test]
async fn two_clients_share_a_notebook_through_two_nodes_and_one_is_killed_while_it_writes() {
    let cluster = NatsCluster::start().await;
    let urls = cluster.urls();
    let settings = [("backbone.kind", "nats"), ("nats.urls", urls.as_str()), ("log.retention_bytes", "0")];
    let (one, two) = tokio::join!(Node::start(&settings), Node::start(&settings));
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let mut b = client(&two, "b", &dirs[1], Form::Alone, None).await;
    let mut written = 0_u64;
    for round in 0..4 {
        let mut a = client(&one, "a", &dirs[0], if round % 2 == 0 { Form::Handshake } else { Form::Alone }, None).await;
        for _ in 0..5 {
            let done = a.call("manage_context", update("log", json!({format!("a{written}"): written}))).await;
            assert_ne!(done["isError"], true, "{done}");
            written += 1;
        }
        // The next one is under way when it dies: it may be there or not, but what was answered is.
        a.begin(
            "tools/call",
            json!({"name": "manage_context", "arguments": update("unsure", json!({format!("a{round}"): 1}))}),
        )
        .await;
        let is_there = |data: &Value| data[format!("a{round}")].is_number().then_some(());
        match round {
            // It may not even have heard of it.
            0 => {}
            1 => {
                let look = Replica::look(dirs[0].path().to_owned()).await.expect("a journal");
                until("it is written", async || is_there(&look.get(key("task:unsure")).await.expect("read")?.data))
                    .await;
            }
            _ => {
                let node = if round == 2 { &one } else { &two };
                until("a node has it", async || is_there(&at_node(node.address(), "task:unsure").await?["data"])).await;
            }
        }
        a.kill().await;
        let done = b.call("manage_context", update("log", json!({format!("b{round}"): round}))).await;
        assert_ne!(done["isError"], true, "{done}");
    }
    let mut a = client(&one, "a", &dirs[0], Form::Handshake, None).await;
    let settled = until("nothing waits any more", async || {
        let status = a.call("manage_context", json!({"action": "status"})).await;
        (status["sync"]["pending"] == 0 && status["sync"]["status"] == "synced").then_some(status)
    });
    assert_eq!(settled.await["sync"]["refused"], 0);
    let got = until("the other one has it all", async || {
        let got = b.call("context_get", task("log", json!({}))).await;
        (got["context"]["data"].as_object().map(serde_json::Map::len) == Some(24)).then_some(got)
    });
    let data = got.await["context"]["data"].clone();
    assert!((0..written).all(|n| data[format!("a{n}")] == n) && (0..4).all(|n| data[format!("b{n}")] == n), "{data}");
    // Nothing was done twice: as many versions as writes. Nothing lies open, nothing was written over.
    let history =
        support::http::get(one.address(), "/v1/tenants/t/entities/context/task%3Alog/versions?limit=100").await.json();
    assert_eq!(history["versions"].as_array().map(Vec::len), Some(24), "{history}");
    assert_eq!(at_node(two.address(), "task:log").await.expect("there")["conflicts"], json!([]));
    drop((a, b));
}

#[tokio::test]
async fn over_http_it_is_the_same_notebook_for_whom_the_door_lets_in() {
    let node = Node::start(&[]).await;
    let dir = TempDir::new().expect("a directory");
    let token = dir.path().join("token");
    std::fs::write(&token, "a-long-enough-word\n").expect("written");
    let mut start = command(node.address(), "a", &dir.path().join("journal"));
    start.args(["--http", "127.0.0.1:0", "--http-token-file"]).arg(&token).stderr(std::process::Stdio::piped());
    let mut server = start.spawn().expect("it starts");
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(server.stderr.take().expect("piped")));
    let address = loop {
        let line = within("it says where", lines.next_line()).await.expect("read").expect("it goes on");
        if let Some(rest) = line.split("http://").nth(1) {
            break rest.trim_end_matches("/mcp").parse::<std::net::SocketAddr>().expect("an address");
        }
    };
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}
    });
    let arguments = update("7", json!({"n": 1}));
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "manage_context", "arguments": arguments, "_meta": meta}});
    let body = call.to_string();
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "manage_context"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&headers[..], more].concat();
    let send = async |more: &[(&'static str, &'static str)]| {
        support::http::send(address, "POST", "/mcp", &with(more), body.as_bytes()).await
    };
    assert_eq!(send(&[]).await.status, 401);
    assert_eq!(send(&[("Authorization", "Bearer a-wrong-word")]).await.status, 401);
    let own = ("Authorization", "Bearer a-long-enough-word");
    assert_eq!(send(&[own, ("Origin", "https://evil.example")]).await.status, 403);
    // The answer comes as a stream of events.
    let fields: String = with(&[own]).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n"
    );
    let mut asking = support::RawClient::open(address, format!("{head}{body}").as_bytes()).await;
    let done = String::from_utf8(asking.rest().await).expect("UTF-8");
    assert!(done.starts_with("HTTP/1.1 200") && done.contains("confirmed"), "{done}");
    assert_eq!(at_node(node.address(), "task:7").await.expect("there")["data"]["n"], 1);
    let elsewhere = support::http::send(address, "POST", "/else", &with(&[own]), body.as_bytes()).await;
    assert_eq!(elsewhere.status, 404);
    let figures = support::http::send(address, "GET", "/metrics", &[own], b"").await.text();
    assert!(figures.contains("continuum_agent_settled_total 1"), "{figures}");
    // Beyond this machine it is not served without a token.
    let mut open = command(node.address(), "z", &dir.path().join("other"));
    let refused = within("it refuses", open.args(["--http", "0.0.0.0:0"]).output()).await.expect("it ran");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("--http-token-file"));
}

#[tokio::test]
async fn a_notice_before_the_opening_ends_nothing() {
    let node = Node::start(&[]).await;
    let dir = TempDir::new().expect("a directory");
    let mut start = command(node.address(), "a", dir.path());
    start.stdin(std::process::Stdio::piped());
    let mut a = Client::start(start, Form::Alone, None).await;
    a.send(&json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})).await;
    a.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}})).await;
    let done = a.call("who_is_here", json!({})).await;
    assert_eq!(done["you"], "a", "{done}");
    assert!(a.close().await.success());
}
