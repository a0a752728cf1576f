//! What a member is busy with, and how much a change or a suggestion has to do with it.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::model::EntityKey;

/// Fields whose words count.
const TEXTS: [&str; 6] = ["title", "label", "name", "text", "content", "description"];
/// Shorter words say too little.
const SHORTEST: usize = 4;
/// Words of one content that are looked at.
const WORDS: usize = 512;
/// What scores no more than this is not told.
const ENOUGH: f64 = 0.7;

/// What a member is busy with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Focus {
    nodes: HashSet<String>,
    tags: HashSet<String>,
    words: HashSet<String>,
}

/// What of a change or a suggestion can have to do with somebody, found once for all.
#[derive(Debug, PartialEq, Eq)]
pub struct Glance {
    nodes: Vec<String>,
    ends: Vec<String>,
    tags: HashSet<String>,
    words: HashSet<String>,
}

/// How much something has to do with somebody, from 0 to 1, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Relevance {
    /// How much.
    pub score: f64,
    /// Why, for a person.
    pub reason: String,
}

fn words_of(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|sign: char| !sign.is_alphanumeric());
    words.filter(|word| word.chars().count() >= SHORTEST).take(WORDS).map(str::to_lowercase)
}

impl Focus {
    /// Nodes, tags, and a text whose words count.
    pub fn new(nodes: Vec<String>, tags: &[String], text: &str) -> Self {
        Self {
            nodes: nodes.into_iter().collect(),
            tags: tags.iter().map(|tag| tag.to_lowercase()).collect(),
            words: words_of(text).collect(),
        }
    }

    /// Whether it is on nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.tags.is_empty() && self.words.is_empty()
    }

    /// How much something has to do with it, if that is enough to tell: 1 for one of its nodes, 0.9 for an edge at one, else the
    /// share of its tags, or nine tenths of the share of its words, that the entity or the suggestion has.
    pub fn relevance(&self, glance: &Glance) -> Option<Relevance> {
        self.best(glance).filter(|relevance| relevance.score > ENOUGH)
    }

    fn best(&self, glance: &Glance) -> Option<Relevance> {
        if let Some(node) = glance.nodes.iter().find(|node| self.nodes.contains(*node)) {
            let is_plain = glance.nodes.len() == 1;
            let reason =
                if is_plain { "you are focused on this node".into() } else { format!("you are focused on '{node}'") };
            return Some(Relevance { score: 1.0, reason });
        }
        if let Some(end) = glance.ends.iter().find(|end| self.nodes.contains(*end)) {
            return Some(Relevance { score: 0.9, reason: format!("it joins '{end}', which you are focused on") });
        }
        let shared = |of: &HashSet<String>, has: &HashSet<String>, what: &str, weight: f64| {
            let mut both: Vec<_> = of.intersection(has).map(String::as_str).collect();
            both.sort_unstable();
            (!both.is_empty()).then(|| Relevance {
                score: weight * both.len() as f64 / of.len() as f64,
                reason: format!("it shares the {what} {}", both.join(", ")),
            })
        };
        let found = [shared(&self.tags, &glance.tags, "tags", 1.0), shared(&self.words, &glance.words, "words", 0.9)];
        found.into_iter().flatten().max_by(|a, b| a.score.total_cmp(&b.score))
    }
}

impl Glance {
    /// Looks at an entity that is there.
    pub fn at(key: &EntityKey, fields: &Map<String, Value>) -> Self {
        let ends = if *key.kind == *"edge" { ends(fields) } else { Vec::new() };
        let nodes = if *key.kind == *"node" { vec![key.id.to_string()] } else { Vec::new() };
        Self { nodes, ends, ..Self::beside_the_graph(fields) }
    }

    /// Looks at a suggestion: the nodes that it names, the ends of an edge that it proposes, its tags and its texts.
    pub fn at_suggestion(fields: &Map<String, Value>) -> Self {
        let nodes = list(fields, "nodes").map(str::to_owned).collect();
        Self { nodes, ends: ends(fields), ..Self::beside_the_graph(fields) }
    }

    fn beside_the_graph(fields: &Map<String, Value>) -> Self {
        let texts = TEXTS.iter().filter_map(|name| fields.get(*name)?.as_str());
        Self {
            nodes: Vec::new(),
            ends: Vec::new(),
            tags: list(fields, "tags").map(str::to_lowercase).collect(),
            words: texts.flat_map(words_of).take(WORDS).collect(),
        }
    }

    /// Whether nobody's focus can have to do with it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.ends.is_empty() && self.tags.is_empty() && self.words.is_empty()
    }
}

fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a str> {
    fields.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn ends(fields: &Map<String, Value>) -> Vec<String> {
    let ends = ["from", "source", "to", "target"].iter();
    ends.filter_map(|name| fields.get(*name)?.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_as_relevant_as_what_it_shares() {
        let focus = Focus::new(vec!["n1".into()], &["Rust".into(), "sync".into()], "conflict resolution in graphs");
        let relevance = |kind: &str, id: &str, fields: Value| {
            let key = EntityKey { kind: kind.into(), id: id.into() };
            let fields = fields.as_object().cloned().unwrap_or_default();
            focus.best(&Glance::at(&key, &fields)).map(|found| ((found.score * 100.0).round(), found.reason))
        };
        assert_eq!(relevance("node", "n1", json!({})), Some((100.0, "you are focused on this node".into())));
        assert_eq!(relevance("task", "n1", json!({})), None);
        let joins = Some((90.0, "it joins 'n1', which you are focused on".into()));
        assert_eq!(relevance("edge", "e", json!({"source": "n2", "target": "n1"})), joins);
        let tags = Some((50.0, "it shares the tags rust".into()));
        assert_eq!(relevance("node", "n2", json!({"tags": ["RUST", "web"]})), tags);
        let words = Some((60.0, "it shares the words conflict, graphs".into()));
        assert_eq!(relevance("node", "n3", json!({"title": "Graphs", "text": "no conflict!"})), words);
        assert_eq!(relevance("node", "n4", json!({"title": "other"})), None);
    }

    #[test]
    fn a_suggestion_is_scored_as_a_change_is_and_told_over_seven_tenths() {
        let focus = Focus::new(vec!["n1".into()], &["rust".into(), "sync".into()], "");
        let told = |fields: Value| {
            let fields = fields.as_object().cloned().unwrap_or_default();
            focus.relevance(&Glance::at_suggestion(&fields)).map(|found| (found.score, found.reason))
        };
        assert_eq!(told(json!({"nodes": ["n1"]})), Some((1.0, "you are focused on this node".into())));
        assert_eq!(told(json!({"nodes": ["n0", "n1"]})), Some((1.0, "you are focused on 'n1'".into())));
        assert_eq!(
            told(json!({"from": "n1", "to": "n9"})),
            Some((0.9, "it joins 'n1', which you are focused on".into()))
        );
        assert_eq!(told(json!({"tags": ["Sync", "rust"]})), Some((1.0, "it shares the tags rust, sync".into())));
        assert_eq!(told(json!({"tags": ["rust"]})), None, "half of the tags are not enough");
        assert_eq!(told(json!({"nodes": "n1", "tags": {"rust": 1}})), None);
    }
}
