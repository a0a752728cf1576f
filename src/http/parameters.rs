//! Query parameters, turned into checked values.

use std::{borrow::Cow, collections::HashMap};

use crate::{
    actors::{
        outlet::{Echo, Options},
        session::Request,
    },
    auth::Grant,
    model::{IdError, TenantId, filter::TypeFilter, resume::Since},
    wire::{Code, Envelope, Refusal, Variant},
};

/// Greatest number of capabilities, and of bytes in each.
const CAPABILITIES: usize = 32;
const CAPABILITY_BYTES: usize = 64;

/// A query string by name; of a repeated name the first counts.
pub(super) struct Parameters<'a>(HashMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Parameters<'a> {
    pub(super) fn read(query: &'a str) -> Self {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            parameters.entry(name).or_insert(value);
        }
        Self(parameters)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(format!("'{name}' must be a whole number from {least} to {most}"))),
        }
    }

    /// A place in the log, under the name that the request has for it.
    pub(super) fn since(&self, name: &str) -> Result<Since, Refusal> {
        match self.get(name) {
            None | Some("") => Ok(Since::Instance),
            Some(text) => Since::parse(text)
                .ok_or_else(|| wrong(format!("'{name}' must be a cursor, 'earliest', 'latest' or an RFC 3339 time"))),
        }
    }
}

/// What a WebSocket handshake asks for.
pub(super) fn session_request(query: &str) -> Result<Request, Refusal> {
    let parameters = Parameters::read(query);
    let tenant = tenant(parameters.get("tenant_id").unwrap_or_default())?;
    let instance = parameters.get("instance_id").unwrap_or_default();
    let instance = instance.parse().map_err(|error| Refusal::of_name(Code::InvalidInstance, &error))?;
    let filter = TypeFilter::parse(parameters.get("types").unwrap_or_default())
        .map_err(|error: IdError| Refusal::of_name(Code::InvalidParameter, &error))?;
    let echo = match parameters.get("echo") {
        None | Some("" | "0" | "false") => Echo::Off,
        Some("1" | "true") => Echo::On,
        Some(_) => return Err(wrong("'echo' must be 0 or 1")),
    };
    let preview = parameters.number("preview", 1, 1_000_000)?.map(|limit| limit as u32);
    Ok(Request {
        grant: Grant::unauthenticated(tenant, instance),
        since: parameters.since("since")?,
        requested: parameters.get("since").unwrap_or_default().to_owned(),
        options: Options { filter, echo, variant: Variant { preview, ..Variant::whole(Envelope::Sync) } },
        capabilities: capabilities(parameters.get("capabilities").unwrap_or_default())?,
    })
}

/// A tenant from a path or a query.
pub(super) fn tenant(text: &str) -> Result<TenantId, Refusal> {
    text.parse().map_err(|error| Refusal::of_name(Code::InvalidTenant, &error))
}

fn capabilities(text: &str) -> Result<Vec<Box<str>>, Refusal> {
    let words: Vec<Box<str>> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Box::from).collect();
    let fits = |word: &str| word.len() <= CAPABILITY_BYTES && !word.chars().any(char::is_control);
    if words.len() > CAPABILITIES || !words.iter().all(|word| fits(word)) {
        let message = format!("'capabilities' may hold {CAPABILITIES} words of at most {CAPABILITY_BYTES} bytes");
        return Err(wrong(message));
    }
    Ok(words)
}

fn wrong(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidParameter, message)
}
