//! Made-up events, one of each type that every client knows.

use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use crate::model::EventType;

/// A type and a content.
pub type Event = (EventType, Box<RawValue>);

const QUESTIONS: [&str; 3] = ["What is quantum entanglement?", "How do glaciers move?", "Why is the sky blue?"];
const CONCEPTS: [(&str, &str); 3] =
    [("Quantum Entanglement", "physics"), ("Basal Sliding", "geology"), ("Rayleigh Scattering", "physics")];

/// Events without an end.
#[derive(Debug, Default)]
pub struct Events {
    made: usize,
}

impl Events {
    /// The next one.
    pub fn next(&mut self) -> Event {
        let (n, round) = (self.made, self.made / 3);
        self.made += 1;
        let (concept, field) = CONCEPTS[round % CONCEPTS.len()];
        let (event_type, data) = match n % 3 {
            0 => (
                "memory_added",
                json!({
                    "message_id": n,
                    "user_message": QUESTIONS[round % QUESTIONS.len()],
                    "ai_response": format!("It has to do with {}.", concept.to_lowercase()),
                    "concepts_extracted": 1,
                }),
            ),
            1 => (
                "concept_learned",
                json!({
                    "concept_name": concept,
                    "concept_type": field,
                    "description": format!("Met while answering question {round}"),
                    "confidence": 0.95,
                }),
            ),
            _ => (
                "decision_made",
                json!({
                    "decision_id": n,
                    "context": "What to read next",
                    "decision": format!("More about {}", concept.to_lowercase()),
                    "rationale": "It came up just now",
                }),
            ),
        };
        let event_type: EventType = event_type.parse().expect("the demo's types are valid");
        (event_type, to_raw_value(&data).expect("a JSON value is JSON"))
    }
}
